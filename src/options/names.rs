//! Which option was meant by a name that is none.

use super::definition::Opt;
use crate::words::suggest::nearest;

/// The options that other tools call so.
pub(crate) fn elsewhere(
    name: &str,
    known: impl Iterator<Item = &'static Opt>,
) -> Vec<&'static Opt> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    known
        .filter(|option| option.elsewhere.contains(&&*name))
        .collect()
}

/// The option that has nearly this name, or had it before.
pub(crate) fn near(
    name: &str,
    known: impl Iterator<Item = &'static Opt> + Clone,
) -> Option<&'static Opt> {
    let spellings = known.clone().flat_map(Opt::spellings);
    let near = nearest(name, spellings)?;
    let mut known = known.into_iter();
    let option = known.find(|option| option.spellings().any(|spelling| spelling == near))?;
    Some(option.short_for.map_or(option, |(other, _)| other))
}

/// The names of the options that may have been meant.
pub(crate) fn meant(
    name: &str,
    known: impl Iterator<Item = &'static Opt> + Clone,
) -> Vec<&'static str> {
    let mut meant = elsewhere(name, known.clone());
    if meant.is_empty() {
        meant.extend(near(name, known));
    }
    meant.iter().map(|option| option.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::OPTIONS;
    use crate::options::check::CHECK;
    use crate::words::suggest::{longer, question};

    fn asked(name: &str) -> Option<String> {
        let known = OPTIONS.iter().copied();
        let shown = |name: &str| format!("--{name}");
        question(&meant(name, known.clone()), shown)
            .or_else(|| question(&longer(name, known.map(|option| option.name)), shown))
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
    fn a_slip_in_a_former_name_leads_to_the_name() {
        let near = near("swep", CHECK.iter().copied());
        assert_eq!(near.map(|option| option.name), Some("offsets"));
    }

    #[test]
    fn no_name_of_others_is_one_of_ours() {
        for option in OPTIONS {
            for theirs in option.elsewhere {
                assert!(crate::options::find(theirs).is_none(), "{theirs}");
            }
        }
    }
}
