//! What is known of programs and images: which signals stop a server and which cut its requests, which STOPSIGNAL
//! an image has, which shell is its `sh`. What is not in these tables is unknown, and left alone.

use std::time::Duration;

use crate::words::signal::Signal;

/// A server, and what it does with signals: measured (docs/benchmarks.md, "50 programs and their signals"), or as its manual says.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// The names of its program.
    programs: &'static [&'static str],
    /// Ends it, and lets it finish its requests.
    pub(crate) graceful: &'static str,
    /// Ends it at once.
    cuts: &'static [&'static str],
    /// Means something else: a reload, new log files, nothing.
    other: &'static [&'static str],
}

const SERVERS: &[Server] = &[
    Server {
        name: "nginx",
        programs: &["nginx", "openresty", "nginx-debug"],
        graceful: "QUIT",
        cuts: &["TERM", "INT"],
        other: &["HUP", "USR1", "USR2", "WINCH"],
    },
    Server {
        name: "Apache httpd",
        programs: &["httpd", "apache2", "httpd-foreground", "apache2-foreground"],
        graceful: "WINCH",
        cuts: &["TERM"],
        other: &["HUP", "USR1"],
    },
    Server {
        name: "PHP-FPM",
        programs: &["php-fpm"],
        graceful: "QUIT",
        cuts: &["TERM", "INT"],
        other: &["USR1", "USR2"],
    },
    Server {
        name: "HAProxy",
        programs: &["haproxy", "haproxy-systemd-wrapper"],
        graceful: "USR1",
        cuts: &["TERM", "INT"],
        other: &["HUP", "USR2"],
    },
    Server {
        name: "gunicorn",
        programs: &["gunicorn"],
        graceful: "TERM",
        cuts: &["QUIT", "INT"],
        other: &["HUP", "USR1", "USR2", "WINCH"],
    },
    Server {
        name: "unicorn",
        programs: &["unicorn", "unicorn_rails"],
        graceful: "QUIT",
        cuts: &["TERM", "INT"],
        other: &["HUP", "USR1", "USR2", "WINCH"],
    },
    Server {
        name: "celery",
        programs: &["celery"],
        graceful: "TERM",
        cuts: &["QUIT"],
        other: &["USR1", "USR2"],
    },
    Server {
        name: "uWSGI",
        programs: &["uwsgi", "uwsgi_python3"],
        graceful: "",
        cuts: &["QUIT", "INT"],
        other: &["HUP", "TERM", "USR1", "USR2"],
    },
    Server {
        name: "PostgreSQL",
        programs: &["postgres"],
        graceful: "INT",
        cuts: &["QUIT"],
        other: &["HUP", "USR1"],
    },
    Server {
        name: "MariaDB",
        programs: &["mariadbd", "mysqld"],
        graceful: "TERM",
        cuts: &[],
        other: &["HUP", "INT", "USR1"],
    },
    Server {
        name: "dnsmasq",
        programs: &["dnsmasq"],
        graceful: "TERM",
        cuts: &[],
        other: &["HUP", "INT", "USR1", "USR2"],
    },
    Server {
        name: "Caddy",
        programs: &["caddy"],
        graceful: "TERM",
        cuts: &["QUIT"],
        other: &["HUP", "USR1", "USR2"],
    },
    Server {
        name: "the JVM",
        programs: &["java"],
        graceful: "TERM",
        cuts: &[],
        other: &["QUIT"],
    },
];

/// What a signal does to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    Graceful,
    Cuts,
    /// It does not stop.
    Other,
    Unknown,
}

impl Server {
    /// The server that is run by these words.
    pub(crate) fn of(words: &[&str]) -> Option<&'static Self> {
        let (first, rest) = words.split_first()?;
        let name = base_name(first);
        let found = SERVERS.iter().find(|server| {
            let names = server.programs.iter();
            names.into_iter().any(|known| {
                // As php-fpm8.2.
                let version = name.strip_prefix(known);
                version.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
            })
        })?;
        // The option by which TERM stops it may stand in its file, too.
        let says_more = |word: &&&str| {
            word.starts_with("--die-on-term")
                || word.contains("unix_signal:15")
                || !word.starts_with("--http") && is_uwsgi_file(word)
        };
        let is_said = found.name == "uWSGI" && rest.iter().any(|word| says_more(&word));
        (!is_said).then_some(found)
    }

    pub(crate) fn effect(&self, signal: Signal) -> Effect {
        let is_it = |name: &&str| Signal::parse(name) == Ok(signal);
        if is_it(&self.graceful) {
            Effect::Graceful
        } else if self.cuts.iter().any(is_it) {
            Effect::Cuts
        } else if self.other.iter().any(is_it) {
            Effect::Other
        } else {
            Effect::Unknown
        }
    }
}

/// Whether this variable may say to uWSGI what stops it: by itself, or by a file.
pub(crate) fn is_uwsgi_variable(name: &str) -> bool {
    let options = [
        "DIE_ON_TERM",
        "EMPEROR",
        "HOOK_",
        "INI",
        "JSON",
        "XML",
        "YAML",
        "YML",
    ];
    let option = name.strip_prefix("UWSGI_");
    option.is_some_and(|option| options.iter().any(|known| option.starts_with(known)))
}

fn is_uwsgi_file(word: &str) -> bool {
    let kinds = ["ini", "xml", "yaml", "yml", "json", "emperor"];
    kinds.iter().any(|kind| {
        word.trim_start_matches('-').starts_with(kind) || word.ends_with(&format!(".{kind}"))
    }) || word.contains('$')
}

/// Programs that go on until they are ended, longer than the grace period, and do not handle the stop signal: as PID 1
/// they never get it.
pub(crate) fn has_no_handler(words: &[&str], signal: Signal, grace: Duration) -> bool {
    let names: Vec<&str> = words.iter().map(|word| base_name(word)).collect();
    let is_option = |word: &&str| word.starts_with('-');
    // As -f, -F, -n0f and --follow.
    let follows = |word: &&str| {
        let letters = word.strip_prefix('-');
        letters.is_some_and(|letters| match letters.strip_prefix('-') {
            Some(long) => long.starts_with("follow"),
            None => letters.contains(['f', 'F']),
        })
    };
    match names.as_slice() {
        ["sleep", times @ ..] => {
            let ends = slept(times.iter().copied());
            ends.is_none_or(|ends| ends > grace)
        }
        ["tail", rest @ ..] => rest.iter().any(follows),
        // Files end; what it reads without one goes on.
        ["cat", rest @ ..] => rest.iter().all(is_option),
        ["yes", ..] => true,
        // It is stopped as by Ctrl-C.
        ["python" | "python3", "-m", "http.server", ..] => signal != Signal::INT,
        _ => false,
    }
}

/// How long these arguments of `sleep` are together.
pub(crate) fn slept<'a>(mut times: impl Iterator<Item = &'a str>) -> Option<Duration> {
    times.try_fold(Duration::ZERO, |sum, text| {
        Some(sum.saturating_add(seconds_of(text)?))
    })
}

/// A time as `sleep` takes it, with decimals or without.
fn seconds_of(text: &str) -> Option<Duration> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (number, unit) = match text.find(|c: char| !is_number(c)) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let factor: u32 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let seconds: u64 = match whole {
        "" if !decimals.is_empty() => 0,
        _ => whole.parse().ok()?,
    };
    let rest: f64 = format!("0.{decimals}0").parse().ok()?;
    let rest = Duration::try_from_secs_f64(rest * f64::from(factor)).ok()?;
    let seconds = seconds.checked_mul(u64::from(factor))?;
    Some(Duration::from_secs(seconds).saturating_add(rest))
}

/// The last part of a path.
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What `sh` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sh {
    /// Stays, whatever `-c` says.
    Dash,
    /// Replaces itself by the last command of `-c`, as bash does.
    Replaces,
    Unknown,
}

/// What is known of an image by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    /// Its STOPSIGNAL.
    pub(crate) stop_signal: Option<&'static str>,
    pub(crate) sh: Sh,
    /// Its ENTRYPOINT, if any, is a script that replaces itself by the command.
    pub(crate) runs_command: bool,
    /// That script has something of its own to start where there is no command.
    pub(crate) has_default: bool,
    pub(crate) is_windows: bool,
    /// Its init must be PID 1.
    pub(crate) is_s6: bool,
    /// The command that it runs where none is given.
    pub(crate) program: Option<&'static str>,
}

/// Official images whose ENTRYPOINT is none, or a script that ends with `exec "$@"`; and what their `sh` is
/// without `-alpine`.
const OFFICIAL: [(&str, Sh); 39] = [
    ("debian", Sh::Dash),
    ("ubuntu", Sh::Dash),
    ("buildpack-deps", Sh::Dash),
    ("gcc", Sh::Dash),
    ("python", Sh::Dash),
    ("node", Sh::Dash),
    ("golang", Sh::Dash),
    ("ruby", Sh::Dash),
    ("rust", Sh::Dash),
    ("php", Sh::Dash),
    ("perl", Sh::Dash),
    ("nginx", Sh::Dash),
    ("httpd", Sh::Dash),
    ("redis", Sh::Dash),
    ("postgres", Sh::Dash),
    ("mariadb", Sh::Dash),
    ("mongo", Sh::Dash),
    ("memcached", Sh::Dash),
    ("haproxy", Sh::Dash),
    ("eclipse-temurin", Sh::Dash),
    ("elixir", Sh::Dash),
    ("erlang", Sh::Dash),
    ("julia", Sh::Dash),
    ("wordpress", Sh::Dash),
    ("tomcat", Sh::Dash),
    ("jetty", Sh::Unknown),
    ("mysql", Sh::Replaces),
    ("openjdk", Sh::Unknown),
    ("maven", Sh::Unknown),
    ("gradle", Sh::Unknown),
    ("alpine", Sh::Replaces),
    ("busybox", Sh::Replaces),
    ("fedora", Sh::Replaces),
    ("centos", Sh::Replaces),
    ("rockylinux", Sh::Replaces),
    ("almalinux", Sh::Replaces),
    ("amazonlinux", Sh::Replaces),
    ("archlinux", Sh::Replaces),
    ("oraclelinux", Sh::Replaces),
];

/// Systems whose `sh` replaces itself, as they stand in the names of images; those of sclorg are built on Red Hat's.
const SYSTEMS: [&str; 12] = [
    "almalinux",
    "alpine",
    "amazonlinux",
    "busybox",
    "centos",
    "fedora",
    "opensuse",
    "oraclelinux",
    "rhel",
    "rockylinux",
    "sclorg",
    "ubi",
];

impl Known {
    /// What is known of the image of this name; nothing of one that is named by a variable.
    pub(crate) fn of(image: &str) -> Self {
        let (name, tag) = divided(image);
        let mut known = Self {
            stop_signal: None,
            sh: Sh::Unknown,
            runs_command: false,
            has_default: false,
            is_windows: false,
            is_s6: false,
            program: None,
        };
        if image.contains('$') {
            return known;
        }
        let lower = image.to_ascii_lowercase();
        let windows = ["windows", "nanoserver", "servercore", "windowsservercore"];
        known.is_windows = windows.iter().any(|word| lower.contains(word));
        known.is_s6 = name.starts_with("linuxserver/") || name.starts_with("lscr.io/linuxserver/");
        if name == "scratch" || name.starts_with("gcr.io/distroless/") {
            known.runs_command = name == "scratch";
            return known;
        }
        let official = ["docker.io/library/", "docker.io/", "library/"];
        let official = official
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .unwrap_or(name);
        let Some((official, sh)) = OFFICIAL.iter().find(|(known, _)| *known == official) else {
            known.stop_signal = match name {
                "nginxinc/nginx-unprivileged" | "openresty/openresty" => Some("SIGQUIT"),
                _ => None,
            };
            if is_of_system(&lower) {
                known.sh = Sh::Replaces;
            }
            return known;
        };
        known.runs_command = !known.is_windows;
        known.has_default = ["node", "jetty"].contains(official);
        known.sh = match tag {
            _ if *sh == Sh::Replaces => Sh::Replaces,
            Some(tag) if tag.contains("alpine") => Sh::Replaces,
            Some(tag) if tag.contains('$') => Sh::Unknown,
            _ => *sh,
        };
        known.program = match *official {
            "nginx" => Some("nginx"),
            "httpd" => Some("httpd-foreground"),
            "haproxy" => Some("haproxy"),
            "postgres" => Some("postgres"),
            "mariadb" => Some("mariadbd"),
            _ => None,
        };
        let tag = tag.unwrap_or("latest");
        known.stop_signal = match *official {
            "nginx" if !is_before(tag, 1, 19) => Some("SIGQUIT"),
            "httpd" if !is_before(tag, 2, 5) => Some("SIGWINCH"),
            "httpd" => Some("SIGWINCH").filter(|_| tag.starts_with("2.4")),
            "postgres" if !is_before(tag, 12, 0) => Some("SIGINT"),
            "haproxy" if !is_before(tag, 2, 0) => Some("SIGUSR1"),
            "php" | "wordpress" if tag.contains("fpm") => Some("SIGQUIT"),
            "php" if tag.contains("apache") => Some("SIGWINCH"),
            _ => None,
        };
        known
    }
}

/// Whether the name or the tag says that it is built on a system whose `sh` is bash or that of busybox.
fn is_of_system(image: &str) -> bool {
    let words = image.split(['/', ':', '-', '.', '_']);
    let is_digit = |c: char| c.is_ascii_digit();
    words
        .map(|word| word.trim_end_matches(is_digit))
        .any(|word| SYSTEMS.contains(&word))
}

/// An image's name without its tag and digest, and the tag.
pub(crate) fn divided(image: &str) -> (&str, Option<&str>) {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, None),
    }
}

/// Whether a tag names a version before this one; of one that is no number it is not known.
fn is_before(tag: &str, major: u32, minor: u32) -> bool {
    let mut parts = tag.split(['.', '-']);
    let first: Option<u32> = parts.next().and_then(|part| part.parse().ok());
    let second: Option<u32> = parts.next().and_then(|part| part.parse().ok());
    match (first, second) {
        (Some(first), _) if first != major => first < major,
        (Some(_), Some(second)) => second < minor,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_of_the_table_is_one() {
        for server in SERVERS {
            let all = server.cuts.iter().chain(server.other);
            for name in all.chain([&server.graceful]).filter(|n| !n.is_empty()) {
                assert!(Signal::parse(name).is_ok(), "{name}");
            }
        }
    }

    #[test]
    fn programs_are_known_by_their_names() {
        let name = |words: &[&str]| Server::of(words).map(|server| server.name);
        assert_eq!(name(&["/usr/sbin/nginx", "-g", "x"]), Some("nginx"));
        assert_eq!(name(&["php-fpm8.2"]), Some("PHP-FPM"));
        assert_eq!(name(&["nginx-exporter"]), None);
        assert_eq!(name(&["uwsgi", "--http", ":80"]), Some("uWSGI"));
        assert_eq!(name(&["uwsgi", "--ini", "a.ini"]), None);
        assert!(is_uwsgi_variable("UWSGI_INI") && is_uwsgi_variable("UWSGI_HOOK_MASTER_START"));
        assert!(!is_uwsgi_variable("UWSGI_HTTP") && !is_uwsgi_variable("uwsgi_ini"));
    }

    #[test]
    fn times_of_sleep() {
        let millis = |text| seconds_of(text).map(|time| time.as_millis());
        let times = ["2.5", ".5", "1.", "0.5m", "2h"].map(millis);
        assert_eq!(times, [2500, 500, 1000, 30_000, 7_200_000].map(Some));
        let none = ["", ".", "1.2.3", "1x", "infinity"].map(millis);
        assert_eq!(none, [None; 5]);
    }

    #[test]
    fn images_are_known_by_name_and_tag() {
        let signal = |image| Known::of(image).stop_signal;
        assert_eq!(signal("nginx"), Some("SIGQUIT"));
        assert_eq!(
            signal("docker.io/library/nginx:1.25-alpine"),
            Some("SIGQUIT")
        );
        assert_eq!(signal("nginx:1.14.2"), None);
        assert_eq!(signal("registry:5000/nginx"), None);
        assert_eq!(signal("php:8.3-fpm"), Some("SIGQUIT"));
        assert_eq!(signal("postgres:9.6"), None);
        assert_eq!(Known::of("node:20-alpine").sh, Sh::Replaces);
        assert_eq!(Known::of("node:20").sh, Sh::Dash);
        assert_eq!(Known::of("node:${V}").sh, Sh::Unknown);
        assert_eq!(Known::of("example.com/ubi9/nodejs").sh, Sh::Replaces);
        assert_eq!(Known::of("example.com/app:2-alpine3").sh, Sh::Replaces);
        assert_eq!(Known::of("example.com/ubiquity").sh, Sh::Unknown);
        assert!(!Known::of("mycorp/node").runs_command);
    }
}
