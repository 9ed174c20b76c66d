//! A command line that is run without a shell: it is split as a shell would, and what only a shell
//! understands is refused.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::fault::Fault;

/// The words of a hook, a step or a condition.
///
/// # Errors
/// A quote is not closed, a backslash is the last character, there is no word, or an operator or a variable would be
/// passed on as text.
pub(crate) fn words(text: &[u8]) -> Result<Vec<OsString>, Fault> {
    let Some(words) = shlex::bytes::split(text) else {
        let is_whole = |text| shlex::bytes::split(text).is_some();
        return Err(if text.strip_suffix(b"\\").is_some_and(is_whole) {
            Fault::new("the backslash at the end escapes nothing").way_out("remove it, or quote it")
        } else {
            Fault::new("a quote is never closed").way_out("close it, or escape it")
        });
    };
    if words.is_empty() {
        return Err(Fault::new("the command is empty").way_out("write a command line"));
    }
    // Without UTF-8 there is no column to point at. What means something to a shell is ASCII.
    let shown = str::from_utf8(text).unwrap_or_default();
    if let Some((start, end)) = for_a_shell(shown) {
        let what = shown.get(start..end).unwrap_or_default();
        let line = shlex::try_quote(shown.trim()).unwrap_or_default();
        return Err(Fault::new(format!("only a shell understands {what}"))
            .at(shown, start, end)
            .way_out(format!(
                "write sh -c {line}, or quote {what} if it is meant as text"
            )));
    }
    Ok(words.into_iter().map(OsString::from_vec).collect())
}

/// Where the first operator or variable stands outside all quotes.
fn for_a_shell(text: &str) -> Option<(usize, usize)> {
    let mut rest = text.char_indices().peekable();
    let mut word = None;
    while let Some((at, character)) = rest.next() {
        let begins = word.is_none();
        if character.is_ascii_whitespace() {
            word = None;
            continue;
        }
        let start = *word.get_or_insert(at);
        match character {
            '\\' => {
                rest.next();
            }
            '\'' => {
                rest.find(|(_, next)| *next == '\'');
            }
            '"' => {
                while let Some((_, next)) = rest.next().filter(|(_, next)| *next != '"') {
                    if next == '\\' {
                        rest.next();
                    }
                }
            }
            // The rest of the line is a comment.
            '#' if begins => {
                word = None;
                rest.find(|(_, next)| *next == '\n');
            }
            '|' | '&' | ';' | '<' | '>' => {
                let tail = text.get(at..).unwrap_or_default();
                let of = |c: char| ['|', '&', ';', '<', '>'].contains(&c);
                let length = tail.find(|c| !of(c)).unwrap_or(tail.len());
                if length == 1 && is_of_a_url(text, start, at) {
                    continue;
                }
                return Some((at, at + length));
            }
            '`' => return Some((at, at + 1)),
            '$' => {
                let tail = text.get(at + 1..).unwrap_or_default();
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                if tail.starts_with(['{', '(']) {
                    return Some((at, at + 2));
                }
                if tail.starts_with(|c: char| is_name(c) && !c.is_ascii_digit()) {
                    let length = tail.find(|c| !is_name(c)).unwrap_or(tail.len());
                    return Some((at, at + 1 + length));
                }
            }
            _ => {}
        }
    }
    None
}

/// Whether `&` or `;` is part of a URL, where nobody thinks of a shell.
fn is_of_a_url(text: &str, start: usize, at: usize) -> bool {
    let before = text.get(start..at).unwrap_or_default();
    let next = text.get(at + 1..).and_then(|rest| rest.chars().next());
    text.get(at..)
        .is_some_and(|tail| tail.starts_with(['&', ';']))
        && before.contains("://")
        && next.is_some_and(|next| !next.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> Option<&str> {
        for_a_shell(text).map(|(start, end)| &text[start..end])
    }

    #[test]
    fn what_only_a_shell_understands_is_found() {
        for (text, what) in [
            ("a && b", "&&"),
            ("a || b", "||"),
            ("a | b", "|"),
            ("a|b", "|"),
            ("a; b", ";"),
            ("a ;", ";"),
            ("a &", "&"),
            ("a > f", ">"),
            ("a 2>&1", ">&"),
            ("a >> f", ">>"),
            ("a < f", "<"),
            ("a 'b;c' ; d", ";"),
            ("a \"\\\";\" ; d", ";"),
            ("curl http://a/?b=1&c=2 && d", "&&"),
            ("curl http://a/; d", ";"),
            ("curl http://a/ &", "&"),
            ("kill $STEPDOWN_CHILD_PID", "$STEPDOWN_CHILD_PID"),
            ("a ${B}", "${"),
            ("a $(b)", "$("),
            ("a `b`", "`"),
        ] {
            assert_eq!(first(text), Some(what), "{text}");
        }
    }

    #[test]
    fn what_is_quoted_or_part_of_a_url_is_text() {
        for text in [
            "sh -c 'a && b; c | d > $e'",
            "sh -c \"a && \\\"b; c\\\" $d\"",
            "find . -name x -exec rm {} \\;",
            "expr 3 '|' 4",
            "a \\&\\& b",
            "curl http://a/?b=1&c=2;d#e",
            "a # b && c",
            "a $ $5 b$",
            "a 'it'\"'\"'s; b'",
            "",
            "\\",
            "'",
            "\"\\",
        ] {
            assert_eq!(first(text), None, "{text}");
        }
    }
}
