//! What a word that is none was meant to be: the nearest valid spelling, or what other tools call it.

/// The candidate nearest to `word`, if it is near enough to be what was meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // One slip in a short word, two in a longer one: beyond that a guess would mislead.
    let allowed = if word.len() <= 4 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What timeout(1), Docker, systemd and others call options of ours.
const ELSEWHERE: [(&str, &[&str]); 50] = [
    ("signal", &["stop-signal"]),
    ("kill-signal", &["stop-signal"]),
    ("timeout", &["grace", "max-runtime", "within"]),
    ("timeout-sec", &["grace", "max-runtime"]),
    ("timeout-stop", &["grace"]),
    ("timeout-stop-sec", &["grace"]),
    ("stop-timeout", &["grace"]),
    ("stop-grace", &["grace"]),
    ("stop-grace-period", &["grace"]),
    ("kill-after", &["grace"]),
    ("kill-timeout", &["grace"]),
    ("shutdown-timeout", &["grace"]),
    ("shutdown-grace", &["grace"]),
    ("grace-period", &["grace"]),
    ("grace-time", &["grace"]),
    ("termination-grace-period", &["grace"]),
    ("termination-grace-period-seconds", &["grace"]),
    ("max-time", &["max-runtime"]),
    ("runtime-max", &["max-runtime"]),
    ("runtime-max-sec", &["max-runtime"]),
    ("on-start", &["pre-start"]),
    ("before-start", &["pre-start"]),
    ("exec-start-pre", &["pre-start"]),
    ("on-stop", &["pre-stop"]),
    ("before-stop", &["pre-stop"]),
    ("exec-stop", &["ladder"]),
    ("stop-command", &["ladder"]),
    ("on-exit", &["post-stop"]),
    ("after-stop", &["post-stop"]),
    ("exec-stop-post", &["post-stop"]),
    ("directory", &["workdir"]),
    ("working-directory", &["workdir"]),
    ("chdir", &["workdir"]),
    ("cwd", &["workdir"]),
    ("uid", &["user"]),
    ("gid", &["group"]),
    ("environment", &["env"]),
    ("setenv", &["env"]),
    ("config-file", &["config"]),
    ("graceful-timeout", &["grace"]),
    ("term-timeout", &["grace"]),
    ("wait", &["grace"]),
    ("port", &["drain-port", "health-listen"]),
    ("healthcheck", &["health-listen"]),
    ("health", &["health-listen"]),
    ("health-port", &["health-listen"]),
    ("health-addr", &["health-listen"]),
    ("debug", &["verbose"]),
    ("silent", &["quiet"]),
    ("log", &["log-level", "log-format"]),
];

/// The options of `known` that other tools call so; none where they have no other name.
pub(crate) fn elsewhere<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Vec<&'a str> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let found = ELSEWHERE.iter().find(|(theirs, _)| *theirs == name);
    let ours = found.map_or(&[][..], |(_, ours)| ours);
    let named = |ours: &&str| known.clone().find(|known| known == ours);
    ours.iter().filter_map(named).collect()
}

/// The options that may have been meant by a name that is none.
pub(crate) fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Vec<&'a str> {
    let theirs = elsewhere(name, known.clone());
    if theirs.is_empty() {
        nearest(name, known).into_iter().collect()
    } else {
        theirs
    }
}

/// Those whose first words the name is. Of many nothing is said: the help is shorter.
pub(crate) fn longer<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let begins = |known: &&str| {
        let rest = known.strip_prefix(name);
        !name.is_empty() && rest.is_some_and(|rest| rest.starts_with('-'))
    };
    let longer: Vec<&str> = known.filter(begins).collect();
    if longer.len() > 3 { Vec::new() } else { longer }
}

/// `did you mean --grace or --max-runtime?`; nothing where nothing may have been meant.
pub(crate) fn question(names: &[&str], shown: impl Fn(&str) -> String) -> Option<String> {
    let (last, others) = names.split_last()?;
    let others: Vec<String> = others.iter().map(|name| shown(name)).collect();
    Some(if others.is_empty() {
        format!("did you mean {}?", shown(last))
    } else {
        format!("did you mean {} or {}?", others.join(", "), shown(last))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::check_table;
    use crate::options::table::{OPTIONS, find};

    fn asked(name: &str) -> Option<String> {
        let known = OPTIONS.iter().map(|option| option.name);
        let shown = |name: &str| format!("--{name}");
        question(&meant(name, known.clone()), shown)
            .or_else(|| question(&longer(name, known), shown))
    }

    #[test]
    fn an_option_that_others_have_leads_to_ours() {
        for (name, question) in [
            ("signal", Some("did you mean --stop-signal?")),
            ("timeout", Some("did you mean --grace or --max-runtime?")),
            ("Stop_Timeout", Some("did you mean --grace?")),
            ("grac", Some("did you mean --grace?")),
            (
                "ready",
                Some("did you mean --ready-when or --ready-timeout?"),
            ),
            ("drain", None),
            ("colour", None),
            // Two slips in four letters are another word: --help, --report.
            ("reap", None),
            (
                "port",
                Some("did you mean --drain-port or --health-listen?"),
            ),
            ("", None),
        ] {
            assert_eq!(asked(name).as_deref(), question, "{name}");
        }
    }

    #[test]
    fn each_leads_to_an_option_that_there_is() {
        for (theirs, ours) in ELSEWHERE {
            assert!(find(theirs).is_none(), "{theirs} is an option of ours");
            let is_one = |name: &&str| find(name).or_else(|| check_table::find(name)).is_some();
            assert!(ours.iter().all(is_one), "{theirs}");
        }
    }
}
