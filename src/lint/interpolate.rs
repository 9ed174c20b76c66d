//! `$NAME`, `${NAME}`, `${NAME:-DEFAULT}`: put in where the value is known.

/// The value of a variable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Lookup {
    Value(String),
    Unset,
    Unknown,
}

/// How deep defaults may be nested.
const DEEPEST: usize = 10;

/// The text with its variables put in, and whether all of them are known. `$$` is a dollar sign.
pub(crate) fn interpolate(text: &str, lookup: &dyn Fn(&str) -> Lookup) -> (String, bool) {
    within(text, lookup, 0)
}

fn within(text: &str, lookup: &dyn Fn(&str) -> Lookup, depth: usize) -> (String, bool) {
    let mut result = String::new();
    let mut is_known = depth <= DEEPEST;
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, dollar) = rest.split_at(at);
        result.push_str(before);
        let after = dollar.get(1..).unwrap_or_default();
        if let Some(more) = after.strip_prefix('$') {
            result.push('$');
            rest = more;
            continue;
        }
        let (shown, known, length) = match after.strip_prefix('{') {
            Some(inner) => match closing(inner) {
                Some(length) if is_known => {
                    let inner = inner.get(..length).unwrap_or_default();
                    let (value, known) = expression(inner, lookup, depth);
                    (value, known, length + 2)
                }
                _ => (None, false, after.len()),
            },
            None => {
                let length = name(after);
                if length == 0 {
                    (Some("$".to_owned()), true, 0)
                } else {
                    let (value, known) = plain(after.get(..length).unwrap_or_default(), lookup);
                    (value, known, length)
                }
            }
        };
        is_known &= known;
        let raw = dollar.get(..=length).unwrap_or(dollar);
        result.push_str(shown.as_deref().unwrap_or(raw));
        rest = after.get(length..).unwrap_or_default();
    }
    result.push_str(rest);
    (result, is_known)
}

fn plain(name: &str, lookup: &dyn Fn(&str) -> Lookup) -> (Option<String>, bool) {
    match lookup(name) {
        Lookup::Value(value) => (Some(value), true),
        Lookup::Unset | Lookup::Unknown => (None, false),
    }
}

/// What stands in `${...}`.
fn expression(text: &str, lookup: &dyn Fn(&str) -> Lookup, depth: usize) -> (Option<String>, bool) {
    let length = name(text);
    let (name, operation) = text.split_at(length);
    let value = lookup(name);
    let is_set = |colon: bool| match &value {
        Lookup::Value(value) => !(colon && value.is_empty()),
        _ => false,
    };
    let (colon, operation) = match operation.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, operation),
    };
    let word = || {
        let word = operation.get(1..).unwrap_or_default();
        let (word, known) = within(word, lookup, depth + 1);
        (Some(word), known)
    };
    match operation.chars().next() {
        None if !colon => plain(name, lookup),
        Some('-') if value == Lookup::Unset || !is_set(colon) && value != Lookup::Unknown => word(),
        Some('-' | '?') => plain(name, lookup),
        Some('+') if is_set(colon) => word(),
        Some('+') if value != Lookup::Unknown => (Some(String::new()), true),
        _ => (None, false),
    }
}

/// The length of the name of a variable.
fn name(text: &str) -> usize {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c| !is_name(c)).unwrap_or(text.len())
}

/// The bytes before the brace that closes.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_put_in() {
        let lookup = |name: &str| match name {
            "A" => Lookup::Value("a".to_owned()),
            "E" => Lookup::Value(String::new()),
            "X" => Lookup::Unknown,
            _ => Lookup::Unset,
        };
        for (text, result, is_known) in [
            ("$A-${A}", "a-a", true),
            ("${U:-5s}", "5s", true),
            ("${E:-${A}}", "a", true),
            ("${E-b}", "", true),
            ("${A:+b}${U:+c}", "b", true),
            ("$$A $", "$A $", true),
            ("$U", "$U", false),
            ("x${X:-5}", "x${X:-5}", false),
            ("${A:?no}", "a", true),
            ("${U?no}", "${U?no}", false),
            ("${A", "${A", false),
            ("${", "${", false),
            ("é$é", "é$é", true),
        ] {
            assert_eq!(
                interpolate(text, &lookup),
                (result.to_owned(), is_known),
                "{text}"
            );
        }
    }
}
