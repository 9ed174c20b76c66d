//! A compose file: its services, as far as that is known without running it (the override, `extends`, merge keys,
//! defaults of variables, `.env`, the Dockerfile of `build:`).

mod env_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use env_file::assignments;

use super::dockerfile::Image;
use super::interpolate::{Lookup, interpolate};
use super::overrides::Together;
use super::place::{Placed, Spot};
use super::programs::{Known, base_name};
use super::run::{Environment, Grace, Platform, Run, Variable, Word, Words};
use super::source::Sources;
use super::yaml::{self, Node};
use crate::words::duration;

/// How often a service may extend another one.
const FOLLOWED: usize = 10;
/// What compose waits where nobody says it.
pub(crate) const DEFAULT_GRACE: std::time::Duration = std::time::Duration::from_secs(10);

/// A compose file that is being read.
pub(crate) struct Reader<'a> {
    sources: &'a mut Sources,
    directory: Rc<Path>,
    /// None where the value is not known.
    variables: BTreeMap<String, Option<String>>,
}

/// A service: what the override says, and what it extends there; then the same of the file that is overridden.
struct Service {
    layers: Vec<Layer>,
}

/// What one file says about a service, and the directory from which the files that it names are found.
struct Layer {
    node: Rc<Node>,
    directory: Rc<Path>,
}

impl Service {
    fn get(&self, key: &str) -> Option<&Rc<Node>> {
        self.at(&[key])
    }

    fn at(&self, path: &[&str]) -> Option<&Rc<Node>> {
        self.all(path).first().copied()
    }

    /// All values that are merged, the stronger first: `null` changes nothing, `!reset` takes back what is weaker, and
    /// `!override` stands in its place.
    fn all(&self, path: &[&str]) -> Vec<&Rc<Node>> {
        self.placed(path)
            .into_iter()
            .map(|(node, _)| node)
            .collect()
    }

    /// The same, each with its directory.
    fn placed(&self, path: &[&str]) -> Vec<(&Rc<Node>, &Path)> {
        let mut all = Vec::new();
        for layer in &self.layers {
            let Some(node) = layer.node.at(path) else {
                continue;
            };
            if node.has_tag("reset") {
                break;
            }
            if !node.is_null() {
                all.push((node, &*layer.directory));
            }
            if node.has_tag("override") {
                break;
            }
        }
        all
    }
}

/// All services of the files.
pub(crate) fn runs(sources: &mut Sources, files: &Together) -> Vec<Run> {
    let path = sources.get(files.file).map(|source| source.path.clone());
    let directory = path.as_deref().and_then(Path::parent).map(Path::to_owned);
    let directory = directory.unwrap_or_default();
    let variables = sources.beside(&directory.join(".env"));
    let variables = variables.and_then(|file| sources.get(file));
    let variables = variables.map(|source| assignments(&source.text));
    let mut reader = Reader {
        sources,
        directory: directory.into(),
        variables: variables.unwrap_or_default().into_iter().collect(),
    };
    // By name; the place is that in the weakest file.
    let mut services: BTreeMap<&str, (Spot, Vec<Layer>)> = BTreeMap::new();
    for root in &files.roots {
        let entries = root.get("services").map(|services| services.entries());
        for (key, node) in entries.unwrap_or_default() {
            let Some(name) = key.text() else { continue };
            let mut layers = vec![Layer {
                node: Rc::clone(node),
                directory: Rc::clone(&reader.directory),
            }];
            reader.extend(&mut layers, root);
            let (at, all) = services.entry(name).or_default();
            *at = key.at;
            all.extend(layers);
        }
    }
    let runs = services
        .into_iter()
        .filter_map(|(name, (at, layers))| reader.run(name, at, &Service { layers }));
    runs.collect()
}

impl Reader<'_> {
    /// Adds the services that the last one extends.
    fn extend(&mut self, layers: &mut Vec<Layer>, root: &Node) {
        let mut other: Option<Rc<Node>> = None;
        let mut directory = Rc::clone(&self.directory);
        for _ in 0..FOLLOWED {
            let extends = layers.last().and_then(|last| last.node.get("extends"));
            let Some(extends) = extends.cloned() else {
                return;
            };
            let name = extends.text().or_else(|| extends.get("service")?.text());
            let Some(name) = name.map(str::to_owned) else {
                return;
            };
            if let Some(path) = extends.get("file").and_then(|file| file.text()) {
                let path = tidy(&directory.join(path));
                let file = self.sources.beside(&path);
                directory = path.parent().unwrap_or(Path::new("")).into();
                let text = file.and_then(|file| Some((file, self.sources.get(file)?)));
                let parsed =
                    text.and_then(|(file, source)| yaml::documents(&source.text, file).ok());
                let Some(first) = parsed.and_then(|documents| documents.into_iter().next()) else {
                    return;
                };
                other = Some(first);
            }
            let of = other.as_deref().unwrap_or(root);
            let Some(found) = of.at(&["services", &name]).cloned() else {
                return;
            };
            layers.push(Layer {
                node: found,
                directory: Rc::clone(&directory),
            });
        }
    }

    fn text(&self, node: &Node) -> Option<(String, bool)> {
        let lookup = |name: &str| match self.variables.get(name) {
            Some(value) => value.clone().map_or(Lookup::Unknown, Lookup::Value),
            None => Lookup::Unset,
        };
        node.text().map(|text| interpolate(text, &lookup))
    }

    /// The text, where all of it is known.
    fn known(&self, node: &Node) -> Option<Placed<String>> {
        let (text, is_known) = self.text(node)?;
        is_known.then(|| Placed::new(text, node.at))
    }

    fn words(&self, node: &Node, key: &'static str) -> Option<Words> {
        let word = |text: String, is_known, at| Word { text, is_known, at };
        let words = match node.list() {
            Some(list) => {
                let words = list.iter().map(|entry| {
                    let (text, is_known) = self.text(entry)?;
                    Some(word(text, is_known, entry.at))
                });
                words.collect::<Option<Vec<Word>>>()?
            }
            None => {
                let (text, is_known) = self.text(node)?;
                let words = shlex::split(&text)?.into_iter();
                let words = words.map(|text| {
                    let is_known = is_known || !text.contains('$');
                    word(text, is_known, node.at)
                });
                words.collect()
            }
        };
        Some(Words {
            words,
            at: node.at,
            key,
            is_shell_form: false,
        })
    }

    fn image(&mut self, service: &Service) -> Option<(Image, Option<String>)> {
        let placed = service.placed(&["build"]);
        let builds = service.all(&["build"]);
        let (_, mut directory) = *placed.first()?;
        // One that stands in the file itself is not read.
        if builds
            .iter()
            .any(|build| build.get("dockerfile_inline").is_some())
        {
            return None;
        }
        let of = |key| builds.iter().find_map(|build| build.get(key)?.text());
        let mut contexts = placed.iter().filter_map(|(build, directory)| {
            let context = build.text().or_else(|| build.get("context")?.text());
            Some((context?, *directory))
        });
        let mut context = ".";
        if let Some(named) = contexts.next() {
            (context, directory) = named;
        }
        if context.contains("://") || context.contains('$') || context.starts_with("git@") {
            return None;
        }
        let context = directory.join(context);
        let path = tidy(&context.join(of("dockerfile").unwrap_or("Dockerfile")));
        let file = self.sources.beside(&path)?;
        let text = self.sources.get(file)?.text.clone();
        let image = Image::read(&text, file, &tidy(&context)).ok()?;
        Some((image, of("target").map(str::to_owned)))
    }

    fn run(&mut self, name: &str, at: Spot, service: &Service) -> Option<Run> {
        let label = format!("service {name}");
        let is_built = service.get("build").is_some();
        let image = self.image(service);
        let stage = image
            .as_ref()
            .and_then(|(image, target)| image.stage(target.as_deref()));
        let mut run = match stage {
            Some(stage) => stage.run(Platform::Compose, label, at),
            None => Run::new(Platform::Compose, label, at),
        };
        let named = service.get("image").and_then(|image| self.known(image));
        if let (false, Some(image)) = (is_built, &named) {
            let known = Known::of(&image.value);
            run.is_whole = known.runs_command;
            run.stop_signal = known
                .stop_signal
                .map(|signal| Placed::new(signal.to_owned(), image.at));
            run.is_inherited_signal = true;
            run.known = Some(known);
        }
        if run.known.is_some_and(|known| known.is_windows) {
            return None;
        }
        self.command(&mut run, service);
        self.mounts(&mut run, service);
        if let Some(stage) = stage {
            stage.read_scripts(&mut run, self.sources);
        }
        self.environment(&mut run.environment, service);
        if let Some(signal) = service.get("stop_signal") {
            run.stop_signal = self.known(signal);
            run.is_inherited_signal = false;
        }
        run.grace = self.grace(service, at);
        if let Some(init) = service.get("init") {
            let known = self.known(init);
            run.may_have_init = known.is_none();
            run.init = known
                .filter(|init| yaml::is_true(&init.value))
                .map(|init| init.at);
        }
        run.is_pid1 = service.get("pid").is_none();
        run.restart = self.restart(service);
        self.balancer(&mut run, service);
        Some(run)
    }

    /// `entrypoint` and `command` in the place of the image's.
    fn command(&self, run: &mut Run, service: &Service) {
        if let Some(entrypoint) = service.get("entrypoint") {
            let theirs = run.words.first().filter(|words| words.key == "ENTRYPOINT");
            let theirs = theirs.cloned();
            match self.words(entrypoint, "entrypoint") {
                Some(words) => {
                    run.is_whole = !words.words.is_empty();
                    run.replaced = theirs.map(|theirs| (theirs, words.at));
                    run.words = vec![words];
                }
                None => {
                    run.is_whole = false;
                    run.words.clear();
                }
            }
        }
        if let Some(command) = service.get("command") {
            // Behind the line of a shell there are no more words; that of CMD is replaced.
            let is_line = run
                .words
                .iter()
                .any(|words| words.key == "ENTRYPOINT" && words.is_shell_form);
            run.words.retain(|words| words.key != "CMD");
            match self.words(command, "command") {
                Some(words) if !is_line => run.words.push(words),
                Some(_) => {}
                None => run.is_whole &= !run.words.is_empty(),
            }
        }
    }

    /// What a volume puts in the place of a script of the image is not known.
    fn mounts(&self, run: &mut Run, service: &Service) {
        let lists = service.all(&["volumes"]);
        let entries = lists.iter().filter_map(|list| list.list()).flatten();
        let targets = entries.filter_map(|entry| match entry.get("target") {
            Some(target) => Some(self.known(target)?.value),
            None => Some(self.text(entry)?.0.split(':').nth(1)?.to_owned()),
        });
        let targets: Vec<String> = targets.collect();
        for word in run.words.iter_mut().flat_map(|words| &mut words.words) {
            let text = &word.text;
            let is_there = |target: &String| {
                let has_directory = text.contains('/');
                target == text || !has_directory && base_name(target) == text
            };
            let is_script = text.ends_with(".sh") || text.ends_with("entrypoint");
            word.is_known &= !(is_script && targets.iter().any(is_there));
        }
    }

    fn environment(&mut self, environment: &mut Environment, service: &Service) {
        // The weaker first.
        for (node, directory) in service.placed(&["env_file"]).into_iter().rev() {
            for entry in files_of(node) {
                let Some(path) = self.known(&entry) else {
                    environment.has_others = true;
                    continue;
                };
                let file = self.sources.beside(&directory.join(&path.value));
                let Some(source) = file.and_then(|file| self.sources.get(file)) else {
                    environment.has_others = true;
                    continue;
                };
                for (name, value) in assignments(&source.text) {
                    let at = path.at;
                    environment.set(Variable { name, value, at });
                }
            }
        }
        for node in service.all(&["environment"]).into_iter().rev() {
            for (key, value) in node.entries() {
                let Some(name) = key.text() else { continue };
                let at = if value.is_null() { key.at } else { value.at };
                let value = self.known(value).map(|value| value.value);
                environment.set(Variable {
                    name: name.to_owned(),
                    value,
                    at,
                });
            }
            for entry in node.list().unwrap_or_default() {
                let Some(text) = entry.text() else { continue };
                let (name, value) = match text.split_once('=') {
                    Some((name, _)) => {
                        let whole = self.known(entry).map(|whole| whole.value);
                        let value =
                            whole.and_then(|whole| Some(whole.split_once('=')?.1.to_owned()));
                        (name, value)
                    }
                    None => (text, None),
                };
                environment.set(Variable {
                    name: name.to_owned(),
                    value,
                    at: entry.at,
                });
            }
        }
    }

    fn grace(&self, service: &Service, at: Spot) -> Option<Grace> {
        let key = "stop_grace_period";
        match service.get(key) {
            Some(node) => Some(Grace {
                time: Some(duration::parse(&self.known(node)?.value).ok()?),
                at: node.at,
                key,
                is_default: false,
            }),
            None => Some(Grace {
                time: Some(DEFAULT_GRACE),
                at,
                key,
                is_default: true,
            }),
        }
    }

    fn restart(&self, service: &Service) -> Option<Placed<String>> {
        let node = service.get("restart");
        let node = node.or_else(|| service.at(&["deploy", "restart_policy", "condition"]));
        let said = self.known(node?)?;
        (said.value != "no" && said.value != "none").then_some(said)
    }

    /// Traefik's labels, and replicas behind one port.
    fn balancer(&self, run: &mut Run, service: &Service) {
        let mut labels = service.all(&["labels"]);
        if labels.is_empty() {
            labels = service.all(&["deploy", "labels"]);
        }
        let mut all: Vec<(String, String, Spot)> = Vec::new();
        // The weaker first.
        for labels in labels.into_iter().rev() {
            for (key, value) in labels.entries() {
                if let (Some(key), Some(value)) = (key.text(), self.known(value)) {
                    all.retain(|(known, ..)| known != key);
                    all.push((key.to_owned(), value.value, value.at));
                }
            }
            for entry in labels.list().unwrap_or_default() {
                let entry = self.known(entry);
                if let Some((text, at)) = entry.as_ref().map(|entry| (&entry.value, entry.at)) {
                    let (key, value) = text.split_once('=').unwrap_or((text, ""));
                    all.retain(|(known, ..)| known != key);
                    all.push((key.to_owned(), value.to_owned(), at));
                }
            }
        }
        let is_traefik = |(key, value, _): &&(String, String, Spot)| {
            let routes = ["traefik.http.routers.", "traefik.http.services."];
            routes.iter().any(|begin| key.starts_with(begin)) && value != "false"
        };
        if all.iter().any(|label| is_traefik(&label)) {
            run.balancer = Some("Traefik, by its labels".to_owned());
        }
        let interval = all.iter().find(|(key, ..)| {
            key.starts_with("traefik.http.services.")
                && key.ends_with(".loadbalancer.healthcheck.interval")
        });
        if let Some((_, value, at)) = interval {
            let time = duration::parse(value).ok();
            run.finds_out = time.map(|time| ("healthcheck.interval", Placed::new(time, *at)));
        }
        let replicas = service
            .at(&["deploy", "replicas"])
            .or_else(|| service.get("scale"));
        if let Some(count) = replicas
            .and_then(|node| node.number())
            .filter(|count| *count > 1)
            && run.balancer.is_none()
            && service.get("ports").is_some()
        {
            run.balancer = Some(format!("one port in front of {count} replicas"));
        }
    }
}

/// The entries of `env_file` that name a file.
fn files_of(node: &Rc<Node>) -> Vec<Rc<Node>> {
    let entries = node
        .list()
        .map_or_else(|| vec![Rc::clone(node)], <[_]>::to_vec);
    let entries = entries.into_iter().filter_map(|entry| {
        let path = entry.get("path").cloned();
        path.or_else(|| entry.text().map(|_| Rc::clone(&entry)))
    });
    entries.collect()
}

/// Without `..`, and without the `.` that a relative path begins with when it is joined.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if tidy.file_name().is_some() => {
                tidy.pop();
            }
            part => tidy.push(part),
        }
    }
    tidy
}
