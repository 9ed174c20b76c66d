//! Divides the words and operators of a text for a shell into the commands at its top.

use super::names::ENDING;
use super::tokens::{Token, has_arguments};
use super::{Kind, Piece, Text, Word};

/// What is open, and what closes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Open {
    If,
    /// `for`, `while`, `until`, `select`.
    Loop,
    /// Between the patterns, or in the commands of one.
    Case {
        in_pattern: bool,
    },
    Brace,
    Paren,
}

/// The `exec PROGRAM` of what is open now. One in a pipeline, in the background or in a subshell replaces a process
/// of its own, and the shell stays.
#[derive(Default)]
struct Execs {
    /// In commands that have ended.
    sure: usize,
    /// In the commands before the last `&&` or `||`: a `&` may still put them in the background.
    list: usize,
    command: usize,
    is_piped: bool,
}

impl Execs {
    fn end_command(&mut self, operator: &str) {
        let pipes = ["|", "|&"].contains(&operator);
        let is_piped = std::mem::replace(&mut self.is_piped, pipes) || pipes;
        let command = std::mem::take(&mut self.command);
        let command = if is_piped { 0 } else { command };
        match operator {
            "|" | "|&" => {}
            "&" => self.list = 0,
            "&&" | "||" => self.list += command,
            _ => self.sure += std::mem::take(&mut self.list) + command,
        }
    }

    fn all(mut self) -> usize {
        self.end_command("");
        self.sure
    }
}

#[derive(Default)]
pub(super) struct Reader {
    text: Text,
    piece: Piece,
    open: Vec<Open>,
    execs: Execs,
    /// Those of what is around it.
    outer_execs: Vec<Execs>,
    /// The next word is the name of a command.
    at_command: bool,
    began: bool,
    /// The next word is the file of a redirection.
    redirects: bool,
    /// The words are the names that `alias` gives.
    gives_alias: bool,
    /// The next word is `-p` of `time`.
    skips_option: bool,
    /// Within `[[ ... ]]`.
    in_test: bool,
    /// The word behind `for`, `case` or `function` is no command.
    skips_to: Option<&'static str>,
    last_was_exec: bool,
    awaits_condition: bool,
    /// The command before is asked for its exit status.
    takes_status: bool,
    /// `&&` stands before this command.
    is_behind_and: bool,
    /// The command goes on on the next line.
    continues: bool,
}

impl Reader {
    pub(super) fn take(&mut self, token: &Token, next: Option<&Token>) -> Option<()> {
        if !self.began {
            self.began = true;
            self.at_command = true;
        }
        if !matches!(token, Token::Operator(_)) {
            self.continues = false;
        }
        match token {
            Token::Word {
                text,
                start,
                is_bare,
            } => {
                self.text.arguments += usize::from(has_arguments(text));
                self.word(text, *start, *is_bare, next)
            }
            Token::Redirect => {
                self.redirects = true;
                Some(())
            }
            Token::Operator(operator) => self.operator(operator),
        }
    }

    fn word(
        &mut self,
        text: &str,
        start: usize,
        is_bare: bool,
        next: Option<&Token>,
    ) -> Option<()> {
        if std::mem::take(&mut self.redirects) {
            return Some(());
        }
        if std::mem::take(&mut self.skips_option) {
            return Some(());
        }
        if self.in_test {
            self.in_test = text != "]]";
            return Some(());
        }
        if std::mem::take(&mut self.last_was_exec) {
            self.execs.command += 1;
        }
        if let Some(word) = self.skips_to {
            if text == word {
                self.skips_to = None;
                self.at_command = word == "do";
            }
            return self.keep(text, start);
        }
        if self.gives_alias
            && let Some((name, _)) = text.split_once('=')
        {
            self.text.functions.push(name.to_owned());
        }
        if let Some(Open::Case { in_pattern: true }) = self.open.last() {
            if text == "esac" {
                return self.close(|open| matches!(open, Open::Case { .. }));
            }
            return Some(());
        }
        if !self.at_command {
            return self.keep(text, start);
        }
        if std::mem::take(&mut self.awaits_condition)
            && self.open.len() == 1
            && ["true", ":", "1", "sleep"].contains(&text)
        {
            self.piece.kind = Kind::Endless;
        }
        if is_bare && let Some(done) = self.reserved(text, start, next) {
            return done;
        }
        // Assignments before the command.
        if is_assignment(text) {
            self.takes_status |= self.open.is_empty() && text.ends_with("=$?");
            return Some(());
        }
        self.at_command = false;
        let is_function = self.text.functions.iter().any(|name| name == text);
        self.piece.may_end |= is_function || ENDING.contains(&text) || text.contains(['$', '`']);
        match text {
            "exec" => self.last_was_exec = true,
            "." | "source" | "eval" | "alias" => {
                self.text.defines_names = true;
                self.gives_alias = text == "alias";
            }
            "trap" => {
                self.text.has_trap = true;
                self.text.has_inner_trap |= !self.open.is_empty();
            }
            _ => {}
        }
        self.keep(text, start)
    }

    /// Words that open or close something; `None` where it is no such word.
    #[expect(
        clippy::option_option,
        reason = "whether it is one, and whether it was understood"
    )]
    fn reserved(&mut self, text: &str, start: usize, next: Option<&Token>) -> Option<Option<()>> {
        // What stands behind it is the command, unless it has options of the program.
        if text == "time" {
            let option = match next {
                Some(Token::Word { text, .. }) => Some(text).filter(|text| text.starts_with('-')),
                _ => None,
            };
            self.skips_option = option.is_some_and(|option| option == "-p");
            let is_keyword = option.is_none() || self.skips_option;
            return is_keyword.then_some(Some(()));
        }
        if matches!(next, Some(Token::Operator("("))) && !is_assignment(text) {
            // A function, whose body follows.
            if self.open.is_empty() {
                self.piece.kind = Kind::Function;
                self.text.functions.push(text.to_owned());
            }
            return Some(Some(()));
        }
        Some(match text {
            "if" => self.open(Open::If, start),
            "while" | "until" => {
                self.awaits_condition = text == "while";
                self.open(Open::Loop, start)
            }
            "for" | "select" => {
                self.skips_to = Some("do");
                self.open(Open::Loop, start)
            }
            "case" => {
                self.skips_to = Some("in");
                self.open(Open::Case { in_pattern: true }, start)
            }
            "{" => self.open(Open::Brace, start),
            "then" | "else" | "elif" | "do" => Some(()),
            "!" => {
                self.piece.is_piped |= self.open.is_empty();
                Some(())
            }
            "fi" => self.close(|open| open == Open::If),
            "done" => self.close(|open| open == Open::Loop),
            "esac" => self.close(|open| matches!(open, Open::Case { .. })),
            "}" => self.close(|open| open == Open::Brace),
            "[[" => {
                self.in_test = true;
                self.at_command = false;
                self.keep(text, start)
            }
            "function" => {
                if self.open.is_empty() {
                    self.piece.kind = Kind::Function;
                }
                self.skips_to = None;
                Some(())
            }
            _ if self.piece.kind == Kind::Function && self.open.is_empty() => {
                // The name behind `function`.
                self.text.functions.push(text.to_owned());
                Some(())
            }
            _ => return None,
        })
    }

    fn open(&mut self, what: Open, start: usize) -> Option<()> {
        if self.open.is_empty() && self.piece.kind == Kind::Simple {
            self.piece.kind = Kind::Compound;
        }
        self.keep("", start)?;
        self.push(what);
        (self.open.len() < 100).then_some(())
    }

    fn push(&mut self, what: Open) {
        self.open.push(what);
        self.outer_execs.push(std::mem::take(&mut self.execs));
    }

    fn close(&mut self, is_it: impl Fn(Open) -> bool) -> Option<()> {
        let closed = self.open.pop()?;
        let outer = self.outer_execs.pop()?;
        let inner = std::mem::replace(&mut self.execs, outer);
        if closed != Open::Paren {
            self.execs.command += inner.all();
        }
        self.at_command = false;
        is_it(closed).then_some(())
    }

    fn keep(&mut self, text: &str, start: usize) -> Option<()> {
        if self.open.is_empty() {
            let text = text.to_owned();
            self.piece.words.push(Word { text, start });
        }
        Some(())
    }

    fn operator(&mut self, operator: &str) -> Option<()> {
        self.last_was_exec = false;
        self.gives_alias = false;
        if self.in_test {
            return Some(());
        }
        if let Some(Open::Case { in_pattern }) = self.open.last_mut() {
            match operator {
                ")" if *in_pattern => {
                    *in_pattern = false;
                    self.at_command = true;
                    return Some(());
                }
                ";;" | ";&" | ";;&" => {
                    *in_pattern = true;
                    self.execs.end_command(operator);
                    return Some(());
                }
                _ if *in_pattern => return Some(()),
                _ => {}
            }
        }
        if operator == "\n" && self.continues {
            return Some(());
        }
        self.continues = ["|", "|&", "&&", "||"].contains(&operator);
        if operator != "(" && operator != ")" {
            self.execs.end_command(operator);
        }
        match operator {
            "(" => {
                let is_function = self.piece.kind == Kind::Function && self.open.is_empty();
                if self.open.is_empty() && self.piece.kind == Kind::Simple && self.at_command {
                    self.piece.kind = Kind::Compound;
                }
                self.push(Open::Paren);
                self.at_command = !is_function;
            }
            ")" => {
                let is_function = self.piece.kind == Kind::Function && self.open.len() == 1;
                self.close(|open| open == Open::Paren)?;
                // The body of a function is still to come; within something any word may name one.
                self.at_command = is_function || !self.open.is_empty();
            }
            // The body may begin on the next line.
            "\n" if self.piece.kind == Kind::Function && self.awaits_body() => {}
            _ if self.open.is_empty() => self.next_piece(operator),
            _ => self.at_command = self.skips_to.is_none(),
        }
        Some(())
    }

    fn awaits_body(&self) -> bool {
        self.open.is_empty() && self.at_command
    }

    fn next_piece(&mut self, operator: &str) {
        let pipes = ["|", "|&"].contains(&operator);
        let is_behind_and = std::mem::replace(&mut self.is_behind_and, operator == "&&");
        let mut piece = std::mem::take(&mut self.piece);
        piece.is_background = operator == "&";
        piece.is_piped |= pipes;
        let is_list = ["&&", "||"].contains(&operator);
        piece.is_joined = pipes || is_list;
        piece.is_followed |= [";", "||"].contains(&operator);
        let mut words = piece.words.iter().map(|word| word.text.as_str());
        let exits = words.next() == Some("exit");
        let takes_status = std::mem::take(&mut self.takes_status) || exits && words.eq(["$?"]);
        if (takes_status || exits && is_behind_and)
            && let Some(before) = self.text.pieces.last_mut()
        {
            before.is_followed = true;
        }
        if !piece.words.is_empty() || piece.kind != Kind::Simple {
            self.text.pieces.push(piece);
        }
        self.piece.is_piped = pipes;
        self.piece.is_conditional = is_list;
        self.at_command = true;
        self.redirects = false;
    }

    pub(super) fn end(mut self) -> Option<Text> {
        self.next_piece("");
        self.text.execs = std::mem::take(&mut self.execs).all();
        // The piece behind the last one is empty, and what was piped into nothing is unknown.
        let is_whole = self.open.is_empty() && !self.in_test && self.skips_to.is_none();
        is_whole.then_some(self.text)
    }
}

fn is_assignment(text: &str) -> bool {
    let Some((name, _)) = text.split_once('=') else {
        return false;
    };
    let name = name.strip_suffix('+').unwrap_or(name);
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty()
        && name.chars().all(is_letter)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}
