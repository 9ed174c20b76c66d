//! Rewrites the files of a copy so that each mutant of a list is there, and is acted out where `mutants::on` says so.
//!
//! `all-mutants LIST TREE [ID]...`: LIST is what `cargo mutants --list --json` has printed, and the number of a mutant
//! is its place in it. Those whose numbers are given are left out: they do not compile. Prints the numbers of those
//! that are in. Each is written in a line of its own that begins with its number, so that an error of the compiler
//! tells which mutant it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

use proc_macro2::{LineColumn, Span};
use serde_json::Value;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A mutant, as far as it must be known here.
struct Mutant {
    id: usize,
    genre: String,
    at: (usize, usize),
    function: Option<(usize, usize)>,
    replacement: String,
}

fn place(value: &Value) -> Option<(usize, usize)> {
    let number = |name: &str| usize::try_from(value["start"][name].as_u64()?).ok();
    Some((number("line")?, number("column")?))
}

/// What a piece of the source becomes.
enum Edit {
    /// Put in here.
    Insert(String),
    /// `a && b` or `a || b`, the other one where it is on.
    Logic {
        id: usize,
        is_and: bool,
        left: Range<usize>,
        right: Range<usize>,
    },
    /// Any other operator, with those that take its place.
    Operator {
        op: String,
        others: Vec<(usize, String)>,
        left: Range<usize>,
        right: Range<usize>,
    },
    Not {
        id: usize,
        operand: Range<usize>,
    },
    Guard {
        always: Option<usize>,
        never: Option<usize>,
    },
    Field {
        id: usize,
        name: String,
        value: Option<Range<usize>>,
        base: Range<usize>,
        of: String,
        ends: &'static str,
    },
}

struct File<'a> {
    text: &'a str,
    lines: Vec<usize>,
    mutants: Vec<Mutant>,
    edits: Vec<(Range<usize>, Edit)>,
    used: BTreeSet<usize>,
    in_const: bool,
    /// The match that is visited has an arm for all that the others do not take.
    has_catchall: bool,
}

fn on(id: usize) -> String {
    format!("crate::mutants::on({id})")
}

impl File<'_> {
    fn byte(&self, at: LineColumn) -> usize {
        let line = self.lines[at.line - 1];
        let text = &self.text[line..];
        let offset = text
            .char_indices()
            .nth(at.column)
            .map_or(text.len(), |(index, _)| index);
        line + offset
    }

    fn range(&self, span: Span) -> Range<usize> {
        self.byte(span.start())..self.byte(span.end())
    }

    /// Those of a genre that begin there.
    fn at(&self, genre: &str, span: Span) -> Vec<(usize, String)> {
        let at = (span.start().line, span.start().column + 1);
        let found = self
            .mutants
            .iter()
            .filter(|one| one.genre == genre && one.at == at);
        found.map(|one| (one.id, one.replacement.clone())).collect()
    }

    fn edit(&mut self, range: Range<usize>, ids: &[usize], edit: Edit) {
        if !self.in_const {
            self.used.extend(ids);
            self.edits.push((range, edit));
        }
    }

    fn function(
        &mut self,
        span: Span,
        block: &syn::Block,
        constant: bool,
        output: &syn::ReturnType,
    ) {
        let at = (span.start().line, span.start().column + 1);
        let is_its = |one: &&Mutant| one.genre == "FnValue" && one.function == Some(at);
        let found: Vec<(usize, String)> = self
            .mutants
            .iter()
            .filter(is_its)
            .map(|one| (one.id, one.replacement.clone()))
            .collect();
        let is_opaque = matches!(output, syn::ReturnType::Type(_, of) if matches!(**of, syn::Type::ImplTrait(_)));
        if found.is_empty() || constant || is_opaque {
            return;
        }
        let mut text = String::from("\n");
        let mut ids = Vec::new();
        for (id, replacement) in found {
            let value = if replacement == "()" {
                ""
            } else {
                &replacement
            };
            let _ = writeln!(text, "/*M{id}*/ if {} {{ return {value}; }}", on(id));
            ids.push(id);
        }
        let open = self.byte(block.brace_token.span.open().end());
        self.edit(open..open, &ids, Edit::Insert(text));
    }

    /// The text of this range, with all that is edited in it; of the edits only those from this one on.
    fn render_from(&self, range: Range<usize>, first: usize) -> String {
        let (mut text, mut at) = (String::new(), range.start);
        for (index, (own, _)) in self.edits.iter().enumerate().skip(first) {
            // The outermost come first; what is inside of one is rendered with it.
            if own.start >= at && own.end <= range.end {
                text.push_str(&self.text[at..own.start]);
                text.push_str(&self.render_edit(index));
                at = own.end;
            }
        }
        text.push_str(&self.text[at..range.end]);
        text
    }

    fn render(&self, range: Range<usize>) -> String {
        self.render_from(range, 0)
    }

    fn render_edit(&self, index: usize) -> String {
        match &self.edits[index].1 {
            Edit::Insert(text) => text.clone(),
            Edit::Logic {
                id,
                is_and,
                left,
                right,
            } => {
                let (left, right) = (self.render(left.clone()), self.render(right.clone()));
                let op = if *is_and { "==" } else { "!=" };
                let on = on(*id);
                format!(
                    "({{ let left_of_{id}: bool = {left};\n/*M{id}*/ if left_of_{id} {op} {on} {{ left_of_{id} }} else {{ {right} }} }})"
                )
            }
            Edit::Operator {
                op,
                others,
                left,
                right,
            } => {
                let (left, right) = (self.render(left.clone()), self.render(right.clone()));
                let is_assignment =
                    op.ends_with('=') && !["==", "!=", "<=", ">="].contains(&&op[..]);
                let put = |text: &str| {
                    if is_assignment {
                        text.to_owned()
                    } else {
                        format!("({text})")
                    }
                };
                let (left, right) = (put(&left), put(&right));
                let mut text = String::from("(");
                for (id, other) in others {
                    let _ = write!(
                        text,
                        "if {} {{ {left}\n/*M{id}*/ {other} {right} }} else ",
                        on(*id)
                    );
                }
                let _ = write!(text, "{{ {left} {op} {right} }})");
                text
            }
            Edit::Not { id, operand } => {
                let operand = self.render(operand.clone());
                format!("(\n/*M{id}*/ !{} ^ ({operand}))", on(*id))
            }
            Edit::Guard { always, never } => {
                let inner = self.render_from(self.edits[index].0.clone(), index + 1);
                let always = always.map_or_else(String::new, |id| format!("{} ||", on(id)));
                let never = never.map_or_else(String::new, |id| format!("!{} &&", on(id)));
                format!("({always} {never} ({inner}))")
            }
            Edit::Field {
                id,
                name,
                value,
                base,
                of,
                ends,
            } => {
                let value = value
                    .clone()
                    .map_or_else(|| name.clone(), |value| self.render(value));
                let base = self.render(base.clone());
                let base = if base == "Default::default()" {
                    format!("<{of}>::default()")
                } else {
                    base
                };
                format!(
                    "\n/*M{id}*/ {name}: if {} {{ ({base}).{name} }} else {{ {value} }}{ends}",
                    on(*id)
                )
            }
        }
    }
}

/// Whether a `let` is part of this condition itself.
fn has_let(condition: &syn::Expr) -> bool {
    match condition {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl File<'_> {
    /// Visits what is evaluated by the compiler where `is_const` holds: no variable can choose there.
    fn within(&mut self, is_const: bool, visit: impl FnOnce(&mut Self)) {
        let before = self.in_const;
        self.in_const |= is_const;
        visit(self);
        self.in_const = before;
    }

    fn signature(&mut self, span: Span, block: &syn::Block, signature: &syn::Signature) {
        self.function(
            span,
            block,
            signature.constness.is_some(),
            &signature.output,
        );
    }
}

impl<'ast> Visit<'ast> for File<'_> {
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.within(true, |file| visit::visit_item_const(file, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.within(true, |file| visit::visit_impl_item_const(file, item));
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.signature(item.span(), &item.block, &item.sig);
        let is_const = item.sig.constness.is_some();
        self.within(is_const, |file| visit::visit_item_fn(file, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.signature(item.span(), &item.block, &item.sig);
        let is_const = item.sig.constness.is_some();
        self.within(is_const, |file| visit::visit_impl_item_fn(file, item));
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let found = self.at("BinaryOperator", binary.op.span());
        if !found.is_empty() && !has_let(&binary.left) && !has_let(&binary.right) {
            let (left, right) = (
                self.range(binary.left.span()),
                self.range(binary.right.span()),
            );
            let whole = left.start..right.end;
            let ids: Vec<usize> = found.iter().map(|(id, _)| *id).collect();
            let edit = match binary.op {
                syn::BinOp::And(_) | syn::BinOp::Or(_) => {
                    let is_and = matches!(binary.op, syn::BinOp::And(_));
                    Edit::Logic {
                        id: ids[0],
                        is_and,
                        left,
                        right,
                    }
                }
                _ => {
                    let op = self.text[self.range(binary.op.span())].to_owned();
                    Edit::Operator {
                        op,
                        others: found,
                        left,
                        right,
                    }
                }
            };
            self.edit(whole, &ids, edit);
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        let found = self.at("UnaryOperator", unary.op.span());
        if let (Some((id, _)), syn::UnOp::Not(_)) = (found.first(), unary.op) {
            let operand = self.range(unary.expr.span());
            let whole = self.range(unary.span());
            self.edit(whole, &[*id], Edit::Not { id: *id, operand });
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_match(&mut self, of: &'ast syn::ExprMatch) {
        let is_catchall =
            |arm: &syn::Arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none();
        let has_catchall = of.arms.iter().any(is_catchall);
        let before = std::mem::replace(&mut self.has_catchall, has_catchall);
        visit::visit_expr_match(self, of);
        self.has_catchall = before;
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let deleted = self.at("MatchArm", arm.span());
        if let Some((id, _)) = deleted.first().filter(|_| self.has_catchall) {
            let end = self.range(arm.pat.span()).end;
            self.edit(
                end..end,
                &[*id],
                Edit::Insert(format!("\n/*M{id}*/ if !{}", on(*id))),
            );
        }
        if let Some((_, guard)) = &arm.guard {
            let found = self.at("MatchArmGuard", guard.span());
            let of = |text: &str| {
                found
                    .iter()
                    .find(|(_, with)| with == text)
                    .map(|(id, _)| *id)
            };
            let (always, never) = (of("true"), of("false"));
            let ids: Vec<usize> = [always, never].into_iter().flatten().collect();
            if !ids.is_empty() && !has_let(guard) {
                let whole = self.range(guard.span());
                self.edit(whole, &ids, Edit::Guard { always, never });
            }
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, literal: &'ast syn::ExprStruct) {
        if let Some(base) = &literal.rest {
            let base = self.range(base.span());
            let of = self.text[self.range(literal.path.span())].to_owned();
            for pair in literal.fields.pairs() {
                let field = pair.value();
                let syn::Member::Named(name) = &field.member else {
                    continue;
                };
                if let Some((id, _)) = self.at("StructField", field.span()).first() {
                    let value = field.colon_token.map(|_| self.range(field.expr.span()));
                    let ends = if pair.punct().is_some() { "," } else { "" };
                    let end = match pair.punct() {
                        Some(comma) => self.range(comma.span()).end,
                        None => self.range(field.span()).end,
                    };
                    let whole = self.range(field.span()).start..end;
                    let (id, name, base, of) = (*id, name.to_string(), base.clone(), of.clone());
                    self.edit(
                        whole,
                        &[id],
                        Edit::Field {
                            id,
                            name,
                            value,
                            base,
                            of,
                            ends,
                        },
                    );
                }
            }
        }
        visit::visit_expr_struct(self, literal);
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(list), Some(tree)) = (arguments.next(), arguments.next()) else {
        panic!("all-mutants LIST TREE [ID]...");
    };
    let out: BTreeSet<usize> = arguments.map(|id| id.parse().expect("a number")).collect();
    let list: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(list).expect("the list")).expect("JSON");
    let mut files: BTreeMap<String, Vec<Mutant>> = BTreeMap::new();
    for (id, value) in list.iter().enumerate().filter(|(id, _)| !out.contains(id)) {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        files.entry(text("file")).or_default().push(Mutant {
            id,
            genre: text("genre"),
            at: place(&value["span"]).expect("a place"),
            function: place(&value["function"]["span"]),
            replacement: text("replacement"),
        });
    }
    for (name, mutants) in files {
        let path = Path::new(&tree).join(&name);
        let text = std::fs::read_to_string(&path).expect("a file of the list");
        let parsed = syn::parse_file(&text).expect("Rust");
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(index, _)| index + 1))
            .collect();
        let mut file = File {
            text: &text,
            lines,
            mutants,
            edits: Vec::new(),
            used: BTreeSet::new(),
            in_const: false,
            has_catchall: false,
        };
        file.visit_file(&parsed);
        file.edits
            .sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
        std::fs::write(&path, file.render(0..text.len())).expect("it can be written");
        file.used.iter().for_each(|id| println!("{id}"));
    }
}
