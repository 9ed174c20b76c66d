//! What the environment says: the variables of all options, and those that begin alike and are none.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::definition::{Kind, Opt, variable};
use super::settings::{Settings, Source, Value};
use super::{OPTIONS, PREFIX, TOLD, find, names};
use crate::words::fault::{Error, Fault};
use crate::words::suggest;

impl Settings {
    /// Adds what the environment says about options that no flag named, then what the file says that
    /// one of them names.
    ///
    /// # Errors
    /// The file cannot be understood.
    /// A variable is almost the name of an option.
    pub(crate) fn add_environment(
        &mut self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), Error> {
        // Almost always none: nothing is allocated then.
        let variables: Vec<_> = environment.into_iter().collect();
        let is_hook = variables.iter().any(|(key, _)| key == "STEPDOWN_PHASE");
        for (key, text) in variables {
            let Some(key) = key.to_str().filter(|key| key.starts_with(PREFIX)) else {
                continue;
            };
            if is_service_link(key, &text) {
                continue;
            }
            let name = key[PREFIX.len()..].replace('_', "-").to_ascii_lowercase();
            let Some((option, spelling)) = find_variable(key, &name) else {
                // Hooks are told `STEPDOWN_SIGNAL`, and much else; who sets it alone means an option.
                let told = TOLD.contains(&key) && (is_hook || key != "STEPDOWN_SIGNAL");
                if !told && !key.starts_with("STEPDOWN_LAST_") {
                    refuse_almost_an_option(key, &name)?;
                }
                continue;
            };
            // An image's variable can be emptied (`docker run -e STEPDOWN_GRACE=`), but not unset.
            if text.is_empty() || self.has(option) {
                continue;
            }
            let mut add = |text: &OsStr| {
                let value = Value::new(text, Source::Environment);
                self.add_value(option, value.spelled(spelling));
            };
            match option.kind {
                // Several values stand on a line each.
                Kind::Many(_) => {
                    let lines = text.as_bytes().split(|b| *b == b'\n');
                    for line in lines.filter(|line| !line.is_empty()) {
                        add(OsStr::from_bytes(line));
                    }
                }
                Kind::One(_) | Kind::Switch | Kind::Count => add(&text),
            }
        }
        self.add_file()
    }
}

/// The option whose variable this is, and by which name it is called there.
fn find_variable(key: &str, name: &str) -> Option<(&'static Opt, &'static str)> {
    let option = find(name)?;
    let mut spellings = option.spellings();
    let spelling = spellings.find(|spelling| variable(spelling) == key)?;
    Some((option, spelling))
}

/// A variable that Kubernetes makes for a service named stepdown, or whose name begins so (Service,
/// "Environment variables").
fn is_service_link(key: &str, text: &OsStr) -> bool {
    // stepdown-drain is a name that a service can have, and its address no port to be drained.
    let is_address = || text.as_bytes().windows(3).any(|part| part == b"://");
    key.strip_prefix(PREFIX).is_some_and(|rest| {
        let is_port = rest.ends_with("_PORT") && is_address();
        let rest = rest.strip_prefix("SERVICE_").unwrap_or(rest);
        rest == "HOST" || rest == "PORT" || rest.starts_with("PORT_") || is_port
    })
}

/// A typing error would pass unseen otherwise, and so would the name of another tool's option. Others that
/// begin alike are not ours.
fn refuse_almost_an_option(key: &str, name: &str) -> Result<(), Error> {
    let options = || OPTIONS.iter().copied();
    let mut meant = names::elsewhere(name, options());
    if meant.is_empty() {
        let all = options().flat_map(|option| {
            let spellings = option.spellings();
            spellings.map(move |spelling| (option, variable(spelling)))
        });
        let all: Vec<(&Opt, String)> = all.collect();
        let typed = key.to_ascii_uppercase();
        let near = suggest::nearest(&typed, all.iter().map(|(_, variable)| &**variable));
        let near = near.and_then(|near| all.iter().find(|(_, variable)| variable == near));
        meant.extend(near.map(|(option, _)| *option));
    }
    let variables: Vec<String> = meant.iter().map(|option| option.variable()).collect();
    let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
    suggest::question(&variables, str::to_owned).map_or(Ok(()), |question| {
        let fault = Fault::new("no option has this name");
        Err(Error::new(key, fault.way_out(question)))
    })
}
