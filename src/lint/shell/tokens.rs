//! The words and operators of a text for a shell, with quotes, substitutions, comments and here-documents.

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Token {
    /// Without its quotes; what the shell would put in (`$NAME`, `$(...)`) stands as it is written.
    Word {
        text: String,
        start: usize,
        /// Nothing of it was quoted.
        is_bare: bool,
    },
    /// `<`, `>` and so on; the file is the next word.
    Redirect,
    Operator(&'static str),
}

const OPERATORS: [&str; 13] = [
    ";;&", "&&", "||", ";;", ";&", "|&", "\n", ";", "|", "&", "(", ")", "\r",
];
const REDIRECTS: [&str; 12] = [
    "&>>", "<<<", "&>", ">>", ">&", ">|", "<&", "<>", "<<-", "<<", "<", ">",
];
/// How deep substitutions may be nested.
const DEEPEST: usize = 30;

/// `None` where a quote or a substitution is never closed.
pub(super) fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut reader = Reader {
        text,
        at: 0,
        found: Vec::new(),
        here: Vec::new(),
    };
    while reader.at < text.len() {
        reader.step()?;
    }
    Some(reader.found)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    found: Vec<Token>,
    /// The ends of here-documents that begin on the next line, and whether tabs before them count.
    here: Vec<(String, bool)>,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn step(&mut self) -> Option<()> {
        let rest = self.rest();
        let first = rest.chars().next()?;
        if first == ' ' || first == '\t' || first == '\r' {
            self.at += 1;
        } else if rest.starts_with("\\\n") {
            self.at += 2;
        } else if first == '#' {
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if let Some(redirect) = REDIRECTS.iter().find(|sign| rest.starts_with(**sign)) {
            // `<(...)` is a word.
            if (*redirect == "<" || *redirect == ">") && rest[1..].starts_with('(') {
                return self.word();
            }
            self.at += redirect.len();
            if *redirect == "<<" || *redirect == "<<-" {
                return self.here_document(*redirect == "<<-");
            }
            self.found.push(Token::Redirect);
        } else if let Some(operator) = OPERATORS.iter().find(|sign| rest.starts_with(**sign)) {
            self.at += operator.len();
            self.found.push(Token::Operator(operator));
            if *operator == "\n" {
                self.skip_here_documents();
            }
        } else {
            return self.word();
        }
        Some(())
    }

    fn here_document(&mut self, strips: bool) -> Option<()> {
        while self.rest().starts_with([' ', '\t']) {
            self.at += 1;
        }
        self.word()?;
        if let Some(Token::Word { text, .. }) = self.found.pop() {
            self.here.push((text, strips));
        }
        Some(())
    }

    fn skip_here_documents(&mut self) {
        for (end, strips) in std::mem::take(&mut self.here) {
            loop {
                let rest = self.rest();
                if rest.is_empty() {
                    break;
                }
                let line = rest.split('\n').next().unwrap_or_default();
                let length = (line.len() + 1).min(rest.len());
                let line = if strips {
                    line.trim_start_matches('\t')
                } else {
                    line
                };
                let is_end = line.trim_end_matches('\r') == end;
                self.at += length;
                if is_end {
                    break;
                }
            }
        }
    }

    fn word(&mut self) -> Option<()> {
        let start = self.at;
        let mut word = String::new();
        let mut is_bare = true;
        while let Some(first) = self.rest().chars().next() {
            let rest = self.rest();
            match first {
                '\'' => {
                    let inner = rest.get(1..)?;
                    let length = inner.find('\'')?;
                    word.push_str(inner.get(..length)?);
                    self.at += length + 2;
                    is_bare = false;
                }
                '"' => {
                    let length = quoted(rest, 0)?;
                    word.push_str(&unescaped(rest.get(1..length - 1)?));
                    self.at += length;
                    is_bare = false;
                }
                '\\' => {
                    let next = rest.chars().nth(1)?;
                    if next != '\n' {
                        word.push(next);
                        is_bare = false;
                    }
                    self.at += 1 + next.len_utf8();
                }
                '$' | '`' => {
                    let length = substitution(rest, 0)?;
                    word.push_str(rest.get(..length)?);
                    self.at += length;
                }
                '<' | '>' if rest[1..].starts_with('(') => {
                    let length = 1 + parenthesis(rest.get(1..)?, 0)?;
                    word.push_str(rest.get(..length)?);
                    self.at += length;
                }
                '<' | '>' => {
                    // A number before it names a descriptor.
                    if is_bare && !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
                        return Some(());
                    }
                    break;
                }
                ' ' | '\t' | '\n' | '\r' | ';' | '|' | '&' | '(' | ')' => break,
                other => {
                    word.push(other);
                    self.at += other.len_utf8();
                }
            }
        }
        self.found.push(Token::Word {
            text: word,
            start,
            is_bare,
        });
        Some(())
    }
}

/// The bytes of `"..."`, quotes included.
fn quoted(text: &str, depth: usize) -> Option<usize> {
    let mut at = 1;
    loop {
        let rest = text.get(at..)?;
        match rest.chars().next()? {
            '"' => return Some(at + 1),
            '\\' => at += 1 + rest.chars().nth(1)?.len_utf8(),
            '$' | '`' => at += substitution(rest, depth + 1)?,
            other => at += other.len_utf8(),
        }
    }
}

/// The bytes of `$NAME`, `${...}`, `$(...)`, `$'...'` or `` `...` ``.
fn substitution(text: &str, depth: usize) -> Option<usize> {
    if depth > DEEPEST {
        return None;
    }
    let after = text.get(1..)?;
    if text.starts_with('`') {
        let mut at = 1;
        loop {
            let rest = text.get(at..)?;
            match rest.chars().next()? {
                '`' => return Some(at + 1),
                '\\' => at += 1 + rest.chars().nth(1)?.len_utf8(),
                other => at += other.len_utf8(),
            }
        }
    }
    match after.chars().next() {
        Some('(') => parenthesis(after, depth + 1).map(|length| length + 1),
        Some('{') => {
            let mut at = 1;
            loop {
                let rest = after.get(at..)?;
                match rest.chars().next()? {
                    '}' => return Some(at + 2),
                    '\\' => at += 1 + rest.chars().nth(1)?.len_utf8(),
                    '$' | '`' => at += substitution(rest, depth + 1)?,
                    '"' => at += quoted(rest, depth + 1)?,
                    other => at += other.len_utf8(),
                }
            }
        }
        _ => Some(1),
    }
}

/// The bytes of `(...)`.
fn parenthesis(text: &str, depth: usize) -> Option<usize> {
    if depth > DEEPEST {
        return None;
    }
    let mut at = 1;
    loop {
        let rest = text.get(at..)?;
        match rest.chars().next()? {
            ')' => return Some(at + 1),
            '(' => at += parenthesis(rest, depth + 1)?,
            '\\' => at += 1 + rest.chars().nth(1)?.len_utf8(),
            '\'' => at += 2 + rest.get(1..)?.find('\'')?,
            '"' => at += quoted(rest, depth + 1)?,
            '$' | '`' => at += substitution(rest, depth + 1)?,
            other => at += other.len_utf8(),
        }
    }
}

/// What stands between double quotes, without the backslashes that mean something there.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match rest.peek() {
            Some(next) if c == '\\' && "$`\"\\\n".contains(*next) => {
                if *next != '\n' {
                    plain.push(*next);
                }
                rest.next();
            }
            _ => plain.push(c),
        }
    }
    plain
}

/// What is left of a word without what the shell puts in.
pub(super) fn without_substitutions(word: &str) -> String {
    let mut plain = String::new();
    let mut at = 0;
    while let Some(rest) = word.get(at..)
        && let Some(first) = rest.chars().next()
    {
        let length = match first {
            '$' | '`' => substitution(rest, 0).unwrap_or(rest.len()),
            other => {
                plain.push(other);
                other.len_utf8()
            }
        };
        at += length;
    }
    plain
}

/// Whether a word has `$@`, `$1`, `$#` or their like in it, in braces, too.
pub(super) fn has_arguments(text: &str) -> bool {
    let mut signs = text.match_indices('$');
    signs.any(|(at, _)| {
        let rest = text.get(at + 1..).unwrap_or_default();
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        rest.starts_with(['@', '*', '#', '1'])
    })
}
