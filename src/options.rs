//! Every option, once; from text (flags, variables, the file) to a `Plan`, or an error that shows the way out.

pub(crate) mod check_table;
mod config;
mod effect;
pub(crate) mod identity;
mod ladder;
mod parse;
pub(crate) mod reload;
mod settings;
pub(crate) mod table;
pub(crate) mod to_plan;

pub(crate) use parse::{parse_choice, parse_signal, parse_switch};
pub(crate) use settings::{HookTable, NamedFile, Place, Settings, Source, Value};
