//! Kubernetes manifests: the containers of everything that has Pods.

use std::rc::Rc;
use std::time::Duration;

use super::place::Placed;
use super::programs::{Known, slept};
use super::run::{Environment, Grace, Platform, Run, Variable, Word, Words};
use super::shell;
use super::yaml::Node;

/// What Kubernetes waits where nobody says it.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// A container, and the image that it names.
pub(crate) struct Container {
    pub(crate) run: Run,
    pub(crate) image: Option<String>,
    pub(crate) has_command: bool,
    pub(crate) has_args: bool,
}

/// All objects of the files, lists taken apart.
pub(crate) fn objects(documents: &[Rc<Node>]) -> Vec<Rc<Node>> {
    let mut all = Vec::new();
    for document in documents {
        let kind = document.get("kind").and_then(|kind| kind.text());
        match document.get("items").and_then(|items| items.list()) {
            Some(items) if kind.is_some_and(|kind| kind.ends_with("List")) => {
                all.extend(items.iter().cloned());
            }
            _ => all.push(Rc::clone(document)),
        }
    }
    all
}

/// The containers of these objects; `all` are those of all files.
pub(crate) fn containers(objects: &[Rc<Node>], all: &[Rc<Node>]) -> Vec<Container> {
    let mut found = Vec::new();
    for object in objects {
        let Some(kind) = object.get("kind").and_then(|kind| kind.text()) else {
            continue;
        };
        let template: &[&str] = match kind {
            "Pod" => &[],
            "PodTemplate" => &["template"],
            "CronJob" => &["spec", "jobTemplate", "spec", "template"],
            // That of Knative has another grace period.
            "Service" => continue,
            // Deployment and its like, and those of others (Rollout of Argo, DeploymentConfig of OpenShift).
            _ => &["spec", "template"],
        };
        let pod = if template.is_empty() {
            Some(object)
        } else {
            object.at(template)
        };
        let Some(pod) = pod else { continue };
        let Some(spec) = pod.get("spec") else {
            continue;
        };
        let name = object
            .at(&["metadata", "name"])
            .and_then(|name| name.text());
        let owner = format!("{kind} {}", name.unwrap_or("without a name"));
        let policy = spec.get("restartPolicy").and_then(|policy| policy.text());
        let ends =
            ["Job", "CronJob"].contains(&kind) || policy.is_some_and(|policy| policy != "Always");
        let list = |key| {
            spec.get(key)
                .and_then(|list| list.list())
                .unwrap_or_default()
        };
        let is_sidecar = |node: &&Rc<Node>| {
            let policy = node.get("restartPolicy").and_then(|policy| policy.text());
            policy == Some("Always")
        };
        let sidecars = list("initContainers").iter().filter(is_sidecar);
        // A selector or reference means what is in the same namespace.
        let namespace = namespace(object);
        let is_beside = |other: &&Rc<Node>| {
            let theirs = self::namespace(other);
            theirs.is_none() || namespace.is_none() || theirs == namespace
        };
        let beside: Vec<Rc<Node>> = all.iter().filter(is_beside).cloned().collect();
        for (node, ends) in list("containers")
            .iter()
            .map(|node| (node, ends))
            .chain(sidecars.map(|node| (node, false)))
        {
            if let Some(mut container) = container(node, &owner, pod, spec, &beside) {
                container.run.is_service = !ends;
                found.push(container);
            }
        }
    }
    found
}

/// The namespace of an object; without one it is that of whoever applies it.
fn namespace(object: &Node) -> Option<&str> {
    object.at(&["metadata", "namespace"])?.text()
}

fn container(
    node: &Node,
    owner: &str,
    pod: &Node,
    spec: &Node,
    all: &[Rc<Node>],
) -> Option<Container> {
    let name = node
        .get("name")
        .and_then(|name| name.text())
        .unwrap_or("without a name");
    let label = format!("container {name} of {owner}");
    let mut run = Run::new(Platform::Kubernetes, label, node.at);
    let image = node.get("image").and_then(|image| image.placed());
    if let Some(image) = &image {
        let known = Known::of(&image.value);
        run.known = Some(known);
        run.is_whole = known.runs_command;
        run.stop_signal = known
            .stop_signal
            .map(|signal| Placed::new(signal.to_owned(), image.at));
        run.is_inherited_signal = true;
    }
    let os = spec
        .at(&["os", "name"])
        .or_else(|| spec.at(&["nodeSelector", "kubernetes.io/os"]));
    if os.and_then(|os| os.text()) == Some("windows")
        || run.known.is_some_and(|known| known.is_windows)
    {
        return None;
    }
    let command = node.get("command").and_then(|list| words(list, "command"));
    let args = node.get("args").and_then(|list| words(list, "args"));
    let (has_command, has_args) = (command.is_some(), args.is_some());
    run.is_whole |= has_command;
    run.words = command.into_iter().chain(args).collect();
    environment(&mut run.environment, node, all);
    if let Some(signal) = node.at(&["lifecycle", "stopSignal"]) {
        run.stop_signal = signal.placed();
        run.is_inherited_signal = false;
    }
    let key = "terminationGracePeriodSeconds";
    let seconds = |node: &Node| node.number().and_then(|number| u64::try_from(number).ok());
    run.grace = match spec.get(key).filter(|node| !node.is_null()) {
        Some(node) => seconds(node).map(|time| Grace {
            time: Some(Duration::from_secs(time)),
            at: node.at,
            key,
            is_default: false,
        }),
        None => Some(Grace {
            time: Some(DEFAULT_GRACE),
            at: node.at,
            key,
            is_default: true,
        }),
    };
    let is_true = |key| spec.get(key).is_some_and(|node| node.is_true());
    run.is_pid1 = !is_true("shareProcessNamespace") && !is_true("hostPID");
    run.restart = spec.get("restartPolicy").and_then(|policy| policy.placed());
    run.restart = run.restart.filter(|policy| policy.value != "Never");
    run.pre_stop = pre_stop(node);
    // How long a command or a request takes is seldom known.
    let hook = node.at(&["lifecycle", "preStop"]);
    let sleeps = hook.and_then(|hook| hook.at(&["sleep", "seconds"])?.number());
    run.may_wait = hook.is_some_and(|hook| hook.is_map()) && sleeps != Some(0);
    for probe in ["livenessProbe", "startupProbe"] {
        if let Some(node) = node.at(&[probe, key])
            && let Some(time) = seconds(node)
        {
            let time = Placed::new(Duration::from_secs(time), node.at);
            run.probe_graces.push((probe, time));
        }
    }
    if let Some(probe) = node.get("readinessProbe") {
        let number = |key, default| {
            let node = probe.get(key);
            node.map_or(Some(default), |node| seconds(node))
        };
        if let (Some(period), Some(failures)) =
            (number("periodSeconds", 10), number("failureThreshold", 3))
        {
            let time = Duration::from_secs(period.saturating_mul(failures));
            run.finds_out = Some(("readinessProbe", Placed::new(time, probe.at)));
        }
    }
    run.balancer = service_of(pod, all);
    Some(Container {
        run,
        image: image.map(|image| image.value),
        has_command,
        has_args,
    })
}

fn words(node: &Node, key: &'static str) -> Option<Words> {
    let words = node.list()?.iter().map(|entry| {
        let text = entry.text()?.to_owned();
        let is_known = !has_reference(&text);
        let at = entry.at;
        Some(Word { text, is_known, at })
    });
    let words = words.collect::<Option<Vec<Word>>>()?;
    (!words.is_empty()).then_some(Words {
        words,
        at: node.at,
        key,
        is_shell_form: false,
    })
}

/// `$(NAME)`, in which Kubernetes puts a variable; a command of a shell looks alike only without blanks.
fn has_reference(text: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let found = text.match_indices("$(").any(|(at, _)| {
        let rest = text.get(at + 2..).unwrap_or_default();
        let end = rest.find(|c| !is_name(c));
        end.is_some_and(|end| end > 0 && rest[end..].starts_with(')'))
    });
    found && !text.contains([' ', '\n'])
}

fn environment(environment: &mut Environment, node: &Node, all: &[Rc<Node>]) {
    let list = |key| {
        node.get(key)
            .and_then(|list| list.list())
            .unwrap_or_default()
    };
    for source in list("envFrom") {
        let name = source
            .at(&["configMapRef", "name"])
            .and_then(|name| name.text());
        let map = name.and_then(|name| named(all, "ConfigMap", name));
        let Some(data) = map.and_then(|map| map.get("data")) else {
            environment.has_others = true;
            continue;
        };
        let prefix = source
            .get("prefix")
            .and_then(|prefix| prefix.text())
            .unwrap_or_default();
        for (key, value) in data.entries() {
            if let Some(key) = key.text() {
                environment.set(Variable {
                    name: format!("{prefix}{key}"),
                    value: value.text().map(str::to_owned),
                    at: value.at,
                });
            }
        }
    }
    for entry in list("env") {
        let Some(name) = entry.get("name").and_then(|name| name.text()) else {
            continue;
        };
        let value = entry.get("value");
        let reference = entry.at(&["valueFrom", "configMapKeyRef"]);
        let referred = reference.and_then(|reference| {
            let map = named(all, "ConfigMap", reference.get("name")?.text()?)?;
            map.get("data")?.get(reference.get("key")?.text()?)
        });
        let value = value.or(referred);
        let text = value
            .and_then(|value| value.text())
            .filter(|text| !text.contains("$("));
        environment.set(Variable {
            name: name.to_owned(),
            value: text.map(str::to_owned),
            at: value.map_or(entry.at, |value| value.at),
        });
    }
}

fn named<'a>(all: &'a [Rc<Node>], kind: &str, name: &str) -> Option<&'a Rc<Node>> {
    all.iter().find(|object| {
        object.get("kind").and_then(|node| node.text()) == Some(kind)
            && object
                .at(&["metadata", "name"])
                .and_then(|node| node.text())
                == Some(name)
    })
}

/// How long preStop takes at least: what it sleeps.
fn pre_stop(node: &Node) -> Option<Placed<Duration>> {
    let hook = node.at(&["lifecycle", "preStop"])?;
    if let Some(seconds) = hook.at(&["sleep", "seconds"]) {
        let time = u64::try_from(seconds.number()?).ok()?;
        return Some(Placed::new(Duration::from_secs(time), seconds.at));
    }
    let command = hook.at(&["exec", "command"])?;
    let words: Option<Vec<&str>> = command.list()?.iter().map(|word| word.text()).collect();
    let words = words?;
    let (first, rest) = words.split_first()?;
    let name = first.rsplit('/').next()?;
    let time = match rest {
        times if name == "sleep" => slept(times.iter().copied())?,
        [option, line] if super::command::SHELLS.contains(&name) && option.ends_with('c') => {
            let text = shell::Text::read(line)?;
            slept(text.sleeps().into_iter())?
        }
        _ => return None,
    };
    Some(Placed::new(time, command.at)).filter(|time| !time.value.is_zero())
}

/// The Service among all objects that sends to this Pod.
fn service_of(pod: &Node, all: &[Rc<Node>]) -> Option<String> {
    let labels = pod.at(&["metadata", "labels"])?;
    let label = |key: &str| labels.get(key).and_then(|value| value.text());
    let service = all.iter().find(|object| {
        if object.get("kind").and_then(|kind| kind.text()) != Some("Service") {
            return false;
        }
        let selector = object.at(&["spec", "selector"]);
        let wanted = selector
            .map(|selector| selector.entries())
            .unwrap_or_default();
        let fits = |(key, value): &(&Node, &Rc<Node>)| {
            key.text()
                .is_some_and(|key| label(key).is_some() && label(key) == value.text())
        };
        !wanted.is_empty() && wanted.iter().all(fits)
    })?;
    let name = service
        .at(&["metadata", "name"])
        .and_then(|name| name.text());
    Some(format!("the Service {}", name.unwrap_or_default()))
}
