//! The grammar of `--ladder`: `STEP[,STEP]...`, STEP = `ACTION[@TARGET][:WAIT]`.

mod quotes;

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use crate::plan::{Step, StepAction, Target};
use crate::words::duration;
use crate::words::fault::Fault;
use crate::words::signal::Signal;
use crate::words::{command_line, suggest};
use quotes::Quotes;

/// What a step falls back to where it says nothing itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) target: Target,
    /// `None`: nobody has said one.
    pub(crate) grace: Option<Duration>,
    /// Whether KILL is added where it is missing.
    pub(crate) kill: bool,
}

/// Reads a ladder.
///
/// # Errors
/// Points at the first step that is wrong, and proposes the nearest spelling.
pub(crate) fn parse(text: &str, defaults: Defaults) -> Result<Vec<Step>, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new("a step is missing").way_out("write one, as TERM:5s"));
    }
    parse_steps(text, split(text)?, defaults)
}

/// Reads a ladder of which it is known where each step stands: a comma divides nothing there.
///
/// # Errors
/// As for [`parse`].
pub(crate) fn parse_steps(
    text: &str,
    ranges: impl IntoIterator<Item = (usize, usize)>,
    defaults: Defaults,
) -> Result<Vec<Step>, Fault> {
    let mut steps = Vec::new();
    for (start, end) in ranges {
        let step = parse_step(text, start, end, defaults)?;
        if steps.last().is_some_and(Step::is_kill) {
            return Err(at(text, start, end, "nothing can follow KILL").way_out("end with KILL"));
        }
        steps.push(step);
    }
    let ends_with_kill = steps.last().is_some_and(Step::is_kill);
    if !ends_with_kill && defaults.kill {
        steps.push(kill());
    }
    Ok(steps)
}

fn kill() -> Step {
    let action = StepAction::Signal(Signal::KILL);
    Step {
        action,
        target: Target::Tree,
        wait: None,
        says_wait: false,
        text: "KILL".into(),
    }
}

fn at(text: &str, start: usize, end: usize, message: impl Into<String>) -> Fault {
    Fault::new(message).at(text, start, end)
}

/// The byte ranges of the steps: commas inside quotes do not divide.
fn split(text: &str) -> Result<Vec<(usize, usize)>, Fault> {
    let mut steps = Vec::new();
    let mut start = 0;
    let mut quotes = Quotes::default();
    for (index, character) in text.char_indices() {
        if quotes.step(index, character) && character == ',' {
            steps.push((start, index));
            start = index + 1;
        }
    }
    if let Some(open) = quotes.open {
        return Err(at(text, open, text.len(), "this quote is never closed")
            .way_out("close it, or escape it with a backslash"));
    }
    steps.push((start, text.len()));
    Ok(steps)
}

fn parse_step(text: &str, start: usize, end: usize, defaults: Defaults) -> Result<Step, Fault> {
    let raw = &text[start..end];
    let lead = raw.len() - raw.trim_start().len();
    let (start, step) = (start + lead, raw.trim());
    let end = start + step.len();
    if step.is_empty() {
        return Err(at(text, start, end, "a step is empty").way_out("remove the extra comma"));
    }
    if Quotes::after(step).escaped {
        // Of a blank behind it nothing is left, and before another step it would stand for the comma.
        return Err(at(text, end - 1, end, "this backslash escapes nothing")
            .way_out("quote the text that ends with it: stdin='TEXT\\'"));
    }
    let step = &*with_quote_at_text(step);
    let lower = step.to_ascii_lowercase();
    if lower.starts_with("stdin=") || lower.starts_with("exec=") {
        return parse_text_step(text, (start, end), step, defaults);
    }
    plain_step(text, (start, end), step, defaults)
        .map_err(|fault| divided(text, start, step, defaults).unwrap_or(fault))
}

/// What is said about steps that other signs than commas divide.
fn divided(text: &str, start: usize, step: &str, defaults: Defaults) -> Option<Fault> {
    let is_sign = |c: char| [';', '|', '>'].contains(&c);
    let at_sign = step.find(is_sign);
    // A blank may belong to a duration, or be one too many.
    let is_divider = |c: char| is_sign(c) || c.is_whitespace();
    let parts = step
        .split(is_divider)
        .map(|part| part.trim_end_matches('-'));
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    let is_step = |part: &&str| plain_step(part, (0, part.len()), part, defaults).is_ok();
    let place = at_sign.or_else(|| {
        let place = step.find(char::is_whitespace);
        place.filter(|_| parts.iter().all(is_step))
    })?;
    let fault = at(
        text,
        start + place,
        start + place + 1,
        "steps are divided by commas",
    );
    Some(fault.way_out(format!("write {}", parts.join(","))))
}

/// `SIGNAL`, `SAME` or `eof`, with target and wait.
fn plain_step(
    text: &str,
    (start, end): (usize, usize),
    step: &str,
    defaults: Defaults,
) -> Result<Step, Fault> {
    let (head, wait) = match step.split_once(':') {
        None => (step, None),
        Some((head, _)) if takes_text(head) => {
            let what = if head.eq_ignore_ascii_case("stdin") {
                "TEXT"
            } else {
                "COMMAND"
            };
            let fault = at(
                text,
                start,
                start + head.len() + 1,
                format!("{head} takes its {what} behind ="),
            );
            return Err(fault.way_out(format!("write {head}={what}")));
        }
        Some((head, wait)) => {
            let from = start + head.len() + 1;
            let wait = duration::parse(wait)
                .map_err(|bad| at(text, from, end, bad.to_string()).way_out(bad.way_out()))?;
            (head, Some(wait))
        }
    };
    let (name, target) = match head.split_once('@') {
        None => (head, None),
        Some((name, target)) => {
            let from = start + name.len() + 1;
            (
                name,
                Some(parse_target(target).map_err(|f| f.at(text, from, from + target.len()))?),
            )
        }
    };
    let action = match name.to_ascii_uppercase().as_str() {
        "SAME" => StepAction::Same,
        "EOF" => StepAction::Eof,
        upper => StepAction::Signal(Signal::parse(upper).map_err(|_| {
            let fault = at(
                text,
                start,
                start + name.len(),
                format!("unknown step {name:?}"),
            );
            match wait_behind_equals(name).or_else(|| nearest_step(upper)) {
                Some(near) => fault.way_out(format!("did you mean {near}?")),
                None => fault.way_out(
                    "a step is a signal, SAME, eof, stdin=TEXT or exec=COMMAND; where TEXT or COMMAND holds a comma, quote it",
                ),
            }
        })?),
    };
    if action == StepAction::Eof && target.is_some() {
        return Err(at(text, start, end, "eof has no target")
            .way_out("it always closes the child's standard input"));
    }
    let killing = action == StepAction::Signal(Signal::KILL);
    let target = target.unwrap_or(if killing {
        Target::Tree
    } else {
        defaults.target
    });
    let says_wait = wait.is_some();
    let wait = if killing {
        wait
    } else {
        wait.or(defaults.grace)
    };
    Ok(Step {
        action,
        target,
        wait,
        says_wait,
        text: step.into(),
    })
}

/// `'stdin=a, b':5s` as `stdin='a, b':5s`, which is the same to a shell. All columns stay.
fn with_quote_at_text(step: &str) -> Cow<'_, str> {
    let Some(quote) = step.chars().next().filter(|c| ['\'', '"'].contains(c)) else {
        return Cow::Borrowed(step);
    };
    let split = step.find('=').map(|at| (&step[1..at], &step[at + 1..]));
    match split.filter(|(word, _)| takes_text(word)) {
        Some((word, body)) => Cow::Owned(format!("{word}={quote}{body}")),
        None => Cow::Borrowed(step),
    }
}

fn takes_text(word: &str) -> bool {
    ["stdin", "exec"].contains(&&*word.to_ascii_lowercase())
}

/// `TERM=8s`, as it is to be written.
fn wait_behind_equals(name: &str) -> Option<String> {
    let (action, wait) = name.split_once('=')?;
    let upper = action.to_ascii_uppercase();
    let is_action = ["SAME", "EOF"].contains(&&*upper) || Signal::parse(&upper).is_ok();
    (is_action && duration::parse(wait).is_ok()).then(|| format!("{action}:{wait}"))
}

fn nearest_step(upper: &str) -> Option<String> {
    let words = ["SAME", "eof", "stdin=TEXT", "exec=COMMAND"];
    let keyword = upper.split('=').next().unwrap_or(upper);
    for (word, shown) in ["SAME", "EOF", "STDIN", "EXEC"].into_iter().zip(words) {
        if suggest::nearest(keyword, [word]).is_some() {
            return Some(shown.to_owned());
        }
    }
    Signal::parse(upper)
        .err()
        .and_then(|unknown| unknown.nearest().map(str::to_owned))
}

/// `stdin=TEXT[:WAIT]` and `exec=COMMAND[:WAIT]`, where the text may hold colons of its own.
fn parse_text_step(
    text: &str,
    (start, end): (usize, usize),
    step: &str,
    given: Defaults,
) -> Result<Step, Fault> {
    let (keyword, body) = step.split_once('=').unwrap_or((step, ""));
    let body_start = start + keyword.len() + 1;
    if let Some(fault) = divided_behind(text, body_start, (keyword, body), given) {
        return Err(fault);
    }
    let mut quotes = Quotes::default();
    let mut last_colon = None;
    for (index, character) in body.char_indices() {
        if quotes.step(index, character) && character == ':' {
            last_colon = Some(index);
        }
    }
    let (content, wait) = match last_colon.map(|colon| (colon, &body[colon + 1..])) {
        Some((colon, wait)) if duration::parse(wait).is_ok() => {
            if wait.bytes().all(|b| b.is_ascii_digit() || b == b'.') && !body.contains(['\'', '"'])
            {
                let from = body_start + colon;
                return Err(at(
                    text,
                    from,
                    end,
                    format!("is \":{wait}\" a wait, or part of the text?"),
                )
                .way_out(format!("write :{wait}s for a wait, or quote the text")));
            }
            (&body[..colon], duration::parse(wait).ok())
        }
        _ => (body, None),
    };
    let action = if keyword.eq_ignore_ascii_case("stdin") {
        StepAction::Stdin(unquoted(content))
    } else {
        // A command line quoted as a whole is one word here and a command line to the user.
        let whole = shlex::bytes::split(content.as_bytes()).unwrap_or_default();
        let line = match whole.as_slice() {
            [line] if content.starts_with(['\'', '"']) => line.as_slice(),
            _ => content.as_bytes(),
        };
        if line.trim_ascii().is_empty() {
            return Err(
                at(text, start, end, "exec= needs a command").way_out("write exec='COMMAND ARGS'")
            );
        }
        // All of it is pointed at: its columns are not those of the ladder.
        let whole_step = |fault: Fault| fault.at(text, body_start, body_start + content.len());
        StepAction::Exec(command_line::words(line).map_err(whole_step)?)
    };
    Ok(Step {
        action,
        target: given.target,
        wait: wait.or(given.grace),
        says_wait: wait.is_some(),
        text: step.into(),
    })
}

/// What is said about `exec=COMMAND;STEP`, and about `stdin=TEXT;STEP`, where all of it would be text.
fn divided_behind(
    text: &str,
    start: usize,
    (keyword, body): (&str, &str),
    given: Defaults,
) -> Option<Fault> {
    let is_sign = |c: char| [';', '|', '>', '&'].contains(&c);
    let mut quotes = Quotes::default();
    let mut characters = body.char_indices();
    let (at_sign, sign) = characters.find(|(index, c)| quotes.step(*index, *c) && is_sign(*c))?;
    let (before, rest) = body.split_at(at_sign);
    let steps = rest
        .split(is_sign)
        .map(|step| step.trim_matches([' ', '-']));
    let steps: Vec<&str> = steps.filter(|step| !step.is_empty()).collect();
    // A console command may be called as a signal is: stop, int.
    let is_written_so = |step: &str| {
        step.starts_with(|c: char| c.is_ascii_uppercase()) || step.contains('=') || step == "eof"
    };
    let is_step =
        |step: &&str| is_written_so(step) && parse_step(step, 0, step.len(), given).is_ok();
    if steps.is_empty() || !steps.iter().all(is_step) {
        return None;
    }
    let place = start + at_sign;
    let fault = at(
        text,
        place,
        place + sign.len_utf8(),
        "steps are divided by commas",
    );
    let before = before.trim_end_matches([' ', '-']);
    let steps = steps.join(",");
    Some(fault.way_out(format!(
        "write {keyword}={before},{steps}, or quote what is no step"
    )))
}

/// The text of a `stdin=` step: one shell word keeps its meaning, several stay as they stand.
fn unquoted(content: &str) -> OsString {
    let quoted = content.contains(['\'', '"', '\\']);
    match shlex::bytes::split(content.as_bytes()) {
        Some(words) if quoted && words.len() == 1 => {
            OsString::from_vec(words.into_iter().next().unwrap_or_default())
        }
        _ => OsString::from(content),
    }
}

/// Reads `child`, `group` or `tree`.
///
/// # Errors
/// The text is none of them; the fault proposes the nearest.
pub(crate) fn parse_target(text: &str) -> Result<Target, Fault> {
    match text.to_ascii_lowercase().as_str() {
        "child" => Ok(Target::Child),
        "group" => Ok(Target::Group),
        "tree" => Ok(Target::Tree),
        lower => {
            let fault = Fault::new(format!("unknown target {text:?}"));
            Err(match suggest::nearest(lower, ["child", "group", "tree"]) {
                Some(near) => fault.way_out(format!("did you mean {near}?")),
                None => fault.way_out("a target is child, group or tree"),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults = Defaults {
        target: Target::Child,
        grace: Some(Duration::from_secs(8)),
        kill: true,
    };

    fn shown(text: &str) -> String {
        let steps = parse(text, DEFAULTS).unwrap();
        let show = |step: &Step| format!("{:?} {:?} {:?}", step.action, step.target, step.wait);
        steps.iter().map(show).collect::<Vec<_>>().join("; ")
    }

    fn refused(text: &str) -> String {
        parse(text, DEFAULTS).unwrap_err().to_string()
    }

    #[test]
    fn the_default_ladder() {
        assert_eq!(
            shown("SAME,KILL"),
            "Same Child Some(8s); Signal(KILL) Tree None"
        );
    }

    #[test]
    fn kill_is_added_where_it_is_missing() {
        assert_eq!(
            shown("TERM:2s"),
            "Signal(TERM) Child Some(2s); Signal(KILL) Tree None"
        );
    }

    #[test]
    fn targets_and_waits() {
        assert_eq!(
            shown("int@group:500ms, RTMIN+3@tree , KILL@child"),
            "Signal(INT) Group Some(500ms); Signal(RTMIN+3) Tree Some(8s); Signal(KILL) Child None"
        );
    }

    #[test]
    fn text_steps_keep_their_text() {
        assert_eq!(
            shown("stdin=say bye: now:5s"),
            "Stdin(\"say bye: now\") Child Some(5s); Signal(KILL) Tree None"
        );
        assert_eq!(
            shown("stdin='a, b':1s,eof"),
            "Stdin(\"a, b\") Child Some(1s); Eof Child Some(8s); Signal(KILL) Tree None"
        );
        assert_eq!(
            shown("'stdin=a, b':1s,\"exec=a 'b, c'\""),
            "Stdin(\"a, b\") Child Some(1s); Exec([\"a\", \"b, c\"]) Child Some(8s); \
             Signal(KILL) Tree None"
        );
        assert_eq!(
            shown("exec='nginx -s \"quit\"',KILL"),
            "Exec([\"nginx\", \"-s\", \"quit\"]) Child Some(8s); Signal(KILL) Tree None"
        );
        assert_eq!(
            shown("exec=nginx -s quit:3s"),
            "Exec([\"nginx\", \"-s\", \"quit\"]) Child Some(3s); Signal(KILL) Tree None"
        );
    }

    #[test]
    fn faults_point_at_the_step_and_name_the_way_out() {
        assert_eq!(
            refused("SAME:5s,TREM:2s"),
            "unknown step \"TREM\" at column 9: did you mean TERM?\n  SAME:5s,TREM:2s\n          ^^^^"
        );
        assert!(refused("TERM@grup").contains("did you mean group?"));
        assert!(refused("TERM:5parsecs").contains("is not a duration at column 6"));
        assert!(refused("KILL,TERM").contains("nothing can follow KILL"));
        assert!(refused("TERM,,KILL").contains("a step is empty"));
        assert!(refused("stdn=x").contains("did you mean stdin=TEXT?"));
        assert!(refused("stdin='x").contains("never closed"));
        assert!(refused("stdin=x\\").contains("escapes nothing"));
        assert!(refused("stdin=x\\ ,KILL").contains("escapes nothing"));
        assert!(refused("exec=nc host:80").contains("a wait, or part of the text?"));
        assert!(refused("eof@tree").contains("eof has no target"));
        assert!(refused("exec=").contains("needs a command"));
        for (text, meant) in [
            ("exec=a;KILL", "exec=a,KILL"),
            ("exec=a -b:3s;KILL", "exec=a -b:3s,KILL"),
            ("exec=a && TERM:5s | KILL", "exec=a,TERM:5s,KILL"),
            ("exec=a -> eof -> KILL", "exec=a,eof,KILL"),
            ("stdin=stop:5s;KILL", "stdin=stop:5s,KILL"),
            ("exec='a b';exec=c", "exec='a b',exec=c"),
        ] {
            let told = refused(text);
            let way_out = "steps are divided by commas at column ";
            assert!(told.starts_with(way_out), "{told}");
            assert!(
                told.contains(&format!(": write {meant}, or quote")),
                "{told}"
            );
        }
        assert!(refused("exec=a;b").contains("only a shell understands"));
        assert!(refused("exec='a;KILL'").contains("only a shell understands"));
        assert_eq!(
            shown("stdin=save;stop"),
            "Stdin(\"save;stop\") Child Some(8s); Signal(KILL) Tree None"
        );
    }
}
