"""Which crates are in the binary: their licence texts in one file, and a CycloneDX list of them, from Cargo.lock alone."""

import json
import re
import subprocess
import tomllib
import uuid
from datetime import datetime, timezone
from pathlib import Path

LICENCE = re.compile(r"(?i)^(licen[cs]e|copying|notice|unlicense)")


class Crates:
    """The crates that are linked into the binary, by name; what only the build runs is not among them."""

    def __init__(self, root):
        told = subprocess.run(
            ["cargo", "metadata", "--locked", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"],
            cwd=root, check=True, stdout=subprocess.PIPE,
        )
        metadata = json.loads(told.stdout)
        packages = {package["id"]: package for package in metadata["packages"]}
        nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
        lock = tomllib.loads((root / "Cargo.lock").read_text())
        self.sums = {(one["name"], one["version"]): one.get("checksum") for one in lock["package"]}
        self.root = packages[metadata["resolve"]["root"]]
        self.uses, todo = {}, [self.root["id"]]
        while todo:
            crate = todo.pop()
            if crate in self.uses:
                continue
            linked = [
                one["pkg"] for one in nodes[crate]["deps"]
                if any(kind["kind"] is None for kind in one["dep_kinds"])
                and not any("proc-macro" in target["kind"] for target in packages[one["pkg"]]["targets"])
            ]
            self.uses[crate] = linked
            todo += linked
        self.packages = packages
        others = (packages[crate] for crate in self.uses if crate != self.root["id"])
        self.all = sorted(others, key=lambda package: (package["name"], package["version"]))

    def licences(self):
        """All texts; one that several crates share is there once."""
        crates_by_text = {}
        for package in self.all:
            place = Path(package["manifest_path"]).parent
            files = sorted(path for path in place.iterdir() if path.is_file() and LICENCE.match(path.name))
            name = f"{package['name']} {package['version']}"
            if not files:
                crates_by_text.setdefault(f"No text in the crate; its licence: {package['license']}", []).append(name)
            for path in files:
                crates_by_text.setdefault(path.read_text(errors="replace").strip(), []).append(name)
        parts = [f"The crates in the binary of {self.root['name']} {self.root['version']}, and their licences."]
        parts += [f"{one['name']} {one['version']}: {one['license']}" for one in self.all]
        for text, names in sorted(crates_by_text.items(), key=lambda item: item[1]):
            parts.append(f"\n{'=' * 80}\n{', '.join(names)}\n{'=' * 80}\n{text}")
        return "\n".join(parts) + "\n"

    def bom(self, epoch):
        """CycloneDX 1.5; nothing in it depends on the time or the place of the build."""
        components = [self.component(package) for package in self.all]
        document = {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {
                "timestamp": datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "component": self.component(self.root) | {"type": "application"},
            },
            "components": components,
            "dependencies": sorted(
                (
                    {"ref": self.purl(crate), "dependsOn": sorted({self.purl(used) for used in uses})}
                    for crate, uses in self.uses.items()
                ),
                key=lambda one: one["ref"],
            ),
        }
        number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
        return json.dumps({"serialNumber": f"urn:uuid:{number}"} | document, indent=2) + "\n"

    def purl(self, crate):
        package = self.packages[crate]
        return f"pkg:cargo/{package['name']}@{package['version']}"

    def component(self, package):
        purl = self.purl(package["id"])
        component = {"type": "library", "bom-ref": purl, "name": package["name"], "version": package["version"]}
        if package["license"]:
            component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        if digest := self.sums.get((package["name"], package["version"])):
            component["hashes"] = [{"alg": "SHA-256", "content": digest}]
        return component | {"purl": purl}
