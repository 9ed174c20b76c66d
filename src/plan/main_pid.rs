//! `--main-pid`: who names the process that the child hands over to, and how it is written.

use std::path::PathBuf;

use crate::plan::condition::missing;
use crate::words::fault::Fault;
use crate::words::suggest;

/// See the module's first sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MainPid {
    pub(crate) from: NamedBy,
    /// As the user would write it.
    pub(crate) text: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NamedBy {
    /// A file with its pid.
    File(PathBuf),
    /// `MAINPID=` (sd_notify(3)).
    Notify,
}

/// Parses the value.
///
/// # Errors
/// What is wrong, and the way out.
pub(crate) fn parse(text: &str) -> Result<MainPid, Fault> {
    let text = text.trim();
    let from = match text.split_once(':') {
        None if text == "notify" => NamedBy::Notify,
        // The directory of the start is left before anybody looks.
        Some(("file", path)) => match std::path::absolute(path) {
            Ok(path) => NamedBy::File(path),
            Err(_) => return Err(missing("path", "file:/run/server.pid")),
        },
        split => {
            let kind = split.map_or(text, |(kind, _)| kind);
            let fault = Fault::new(format!("{text:?} names no process"));
            return Err(match suggest::nearest(kind, ["file", "notify"]) {
                Some(near) => fault.way_out(format!("did you mean {near}?")),
                None => fault.way_out("write file:PATH or notify"),
            });
        }
    };
    let text = text.to_owned();
    Ok(MainPid { from, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_known() {
        let from = |text| parse(text).map(|main| main.from);
        assert_eq!(from("notify"), Ok(NamedBy::Notify));
        assert_eq!(from(" file:/a "), Ok(NamedBy::File("/a".into())));
        assert!(matches!(from("file:a"), Ok(NamedBy::File(path)) if path.is_absolute()));
    }

    #[test]
    fn a_mistake_shows_the_way_out() {
        for (text, way_out) in [
            ("file:", "write file:/run/server.pid"),
            ("notfy", "did you mean notify?"),
            ("fiel:/a", "did you mean file?"),
            ("/run/a.pid", "write file:PATH or notify"),
            ("notify:1", "did you mean notify?"),
        ] {
            let fault = parse(text).unwrap_err().to_string();
            assert!(fault.contains(way_out), "{text}: {fault}");
        }
    }
}
