//! `--help`, "Exit status": what becomes 0.

use super::definition::{Kind, Opt, on_or_off};
use super::parse::parse_signal;
use crate::plan::SuccessExit;
use crate::words::fault::Fault;
use crate::words::list::list;

const SECTION: Opt = Opt {
    section: "Exit status",
    ..Opt::BASE
};

pub(crate) static SUCCESS_EXIT: Opt = Opt {
    name: "success-exit",
    letter: Some('e'),
    kind: Kind::Many("LIST"),
    help: "Exit codes and signals of the child that become exit status 0, as in 143,TERM",
    not_in_check: Some("name the codes by --expect-exit"),
    put: |given, plan| {
        let mut all = SuccessExit::default();
        given.each(|text| parse_success(text, &mut all))?;
        plan.success_exit = all;
        Ok(())
    },
    reload: Some(|plan, fresh| {
        plan.success_exit.clone_from(&fresh.success_exit);
        Ok(())
    }),
    ..SECTION
};

pub(crate) static CLEAN_STOP: Opt = Opt {
    name: "clean-stop",
    kind: Kind::Switch,
    help: "Exit with 0 if the child ended by a signal of the stop other than KILL",
    shapes_stop: true,
    not_in_check: Some(
        "leave it out: the end by a signal of the stop is expected, or name the codes by --expect-exit",
    ),
    put: |given, plan| {
        plan.clean_stop = given.switch()?;
        Ok(())
    },
    shown: |plan| Some(on_or_off(plan.clean_stop).to_owned()),
    reload: Some(|plan, fresh| {
        plan.clean_stop = fresh.clean_stop;
        Ok(())
    }),
    ..SECTION
};

pub(super) fn parse_success(text: &str, into: &mut SuccessExit) -> Result<(), Fault> {
    for (start, word) in list(text) {
        if word.bytes().all(|b| b.is_ascii_digit()) {
            let code = word.parse::<u8>().map_err(|_| {
                Fault::new(format!("{word} is no exit code"))
                    .at(text, start, start + word.len())
                    .way_out("codes go from 0 to 255")
            })?;
            into.codes.push(code);
        } else {
            into.signals
                .insert(parse_signal(word).map_err(|f| f.at(text, start, start + word.len()))?);
        }
    }
    Ok(())
}
