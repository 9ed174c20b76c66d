"""Archives whose bytes depend on what is in them alone: sorted, one owner, one time."""

import gzip
import io
import tarfile
import time
import zipfile


def parents(names):
    """The directories above these paths."""
    found = set()
    for name in names:
        parts = name.split("/")[:-1]
        found.update("/".join(parts[:end]) for end in range(1, len(parts) + 1))
    return found


def tar(files, epoch, directories=True):
    """`files`: path to (content, rights)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entries = {name: None for name in parents(files)} if directories else {}
        for name, entry in sorted((entries | files).items()):
            info = tarfile.TarInfo(name)
            info.mtime, info.uname, info.gname = epoch, "root", "root"
            if entry is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            else:
                info.size, info.mode = len(entry[0]), entry[1]
                archive.addfile(info, io.BytesIO(entry[0]))
    return out.getvalue()


def gz(data):
    """As gzip -9n."""
    return gzip.compress(data, 9, mtime=0)


def zipped(files, epoch):
    """In the order of `files`: path to (content, rights)."""
    out = io.BytesIO()
    date = time.gmtime(max(epoch, 315532800))[:6]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (data, rights) in files.items():
            info = zipfile.ZipInfo(name, date)
            info.create_system, info.external_attr = 3, (0o100000 | rights) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return out.getvalue()
