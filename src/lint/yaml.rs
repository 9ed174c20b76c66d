//! YAML as a tree in which every node knows its place; aliases share their node, and merge keys are followed
//! where a key is looked for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::iter;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::place::{Placed, Spot};

/// What is deeper is no configuration, and would be walked through and dropped by recursion.
const DEEPEST: usize = 100;
/// How often an alias, or a merge key, may lead on to the next one.
const FOLLOWED: usize = 20;

/// Whether a text is one of the words for true.
pub(crate) fn is_true(text: &str) -> bool {
    let trues = ["true", "yes", "on", "y"];
    trues.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// A node of the tree.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: Spot,
    kind: Kind,
    /// `reset` of `!reset`.
    tag: Option<String>,
}

#[derive(Debug)]
enum Kind {
    Scalar { text: String, is_plain: bool },
    List(Vec<Rc<Node>>),
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

impl Node {
    /// The text of a scalar; none for `null`.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { .. } if self.is_null() => None,
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(crate) fn placed(&self) -> Option<Placed<String>> {
        self.text()
            .map(|text| Placed::new(text.to_owned(), self.at))
    }

    pub(crate) fn is_null(&self) -> bool {
        let nulls = ["", "~", "null", "Null", "NULL"];
        matches!(&self.kind, Kind::Scalar { text, is_plain: true } if nulls.contains(&&**text))
    }

    /// YAML 1.1's words are taken, too, as compose and Kubernetes take them.
    pub(crate) fn is_true(&self) -> bool {
        self.text().is_some_and(is_true)
    }

    /// Whether this tag stands in front of it (`!reset` of compose).
    pub(crate) fn has_tag(&self, tag: &str) -> bool {
        self.tag.as_deref() == Some(tag)
    }

    pub(crate) fn number(&self) -> Option<i64> {
        self.text()?.trim().parse().ok()
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(self.kind, Kind::Map(_))
    }

    pub(crate) fn list(&self) -> Option<&[Rc<Self>]> {
        match &self.kind {
            Kind::List(list) => Some(list),
            _ => None,
        }
    }

    /// The value of a key of a map; one that is merged in counts where the map itself has none.
    pub(crate) fn get(&self, key: &str) -> Option<&Rc<Self>> {
        self.get_within(key, FOLLOWED)
    }

    fn get_within(&self, key: &str, left: usize) -> Option<&Rc<Self>> {
        let Kind::Map(entries) = &self.kind else {
            return None;
        };
        // Of equal keys the last one counts, as most parsers have it.
        let own = entries.iter().rev().find(|(name, _)| name.is_key(key));
        if own.is_some() || left == 0 {
            return own.map(|(_, value)| value);
        }
        self.merged()
            .find_map(|merged| merged.get_within(key, left - 1))
    }

    /// The value at the end of these keys.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Rc<Self>> {
        let (first, rest) = path.split_first()?;
        let mut node = self.get(first)?;
        for key in rest {
            node = node.get(key)?;
        }
        Some(node)
    }

    /// Keys and values, with what is merged in.
    pub(crate) fn entries(&self) -> Vec<(&Self, &Rc<Self>)> {
        let mut entries = Vec::new();
        self.collect(&mut entries, FOLLOWED);
        entries
    }

    fn collect<'a>(&'a self, found: &mut Vec<(&'a Self, &'a Rc<Self>)>, left: usize) {
        let Kind::Map(entries) = &self.kind else {
            return;
        };
        for (key, value) in entries.iter().filter(|(key, _)| !key.is_key("<<")) {
            let text = key.text();
            if !found.iter().any(|(other, _)| other.text() == text) {
                found.push((key, value));
            }
        }
        if left > 0 {
            for merged in self.merged() {
                merged.collect(found, left - 1);
            }
        }
    }

    /// The maps of `<<`.
    fn merged(&self) -> impl Iterator<Item = &Rc<Self>> {
        let entries = match &self.kind {
            Kind::Map(entries) => &entries[..],
            _ => &[],
        };
        let merges = entries.iter().filter(|(key, _)| key.is_key("<<"));
        merges.flat_map(|(_, value)| match value.list() {
            Some(list) => list,
            None => std::slice::from_ref(value),
        })
    }

    fn is_key(&self, wanted: &str) -> bool {
        matches!(&self.kind, Kind::Scalar { text, .. } if text == wanted)
    }
}

/// A node that is not complete yet.
enum Open {
    List(Begun, Vec<Rc<Node>>),
    Map(Begun, Vec<(Rc<Node>, Rc<Node>)>, Option<Rc<Node>>),
}

/// What is known of a node where it begins.
struct Begun {
    at: Spot,
    anchor: usize,
    tag: Option<String>,
}

impl Begun {
    fn new(at: Spot, anchor: usize, tag: Option<Cow<'_, Tag>>) -> Self {
        let tag = tag.filter(|tag| tag.handle == "!");
        let tag = tag.map(|tag| tag.suffix.clone());
        Self { at, anchor, tag }
    }
}

/// The documents of a text.
///
/// # Errors
/// It is no YAML: where, and why.
pub(crate) fn documents(text: &str, file: usize) -> Result<Vec<Rc<Node>>, Placed<String>> {
    parsed(text, file).or_else(|error| {
        // YAML 1.2 wants what closes a list or map of brackets further to the right than its key; compose and
        // kubectl do not.
        parsed(&indented(text), file).map_err(|_| error)
    })
}

/// With lines that begin by closing a bracket far to the right; all lines stay where they are.
fn indented(text: &str) -> String {
    let mut whole = String::new();
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with([']', '}']) {
            whole.push_str(&" ".repeat(DEEPEST));
        }
        whole.push_str(line);
    }
    whole
}

fn parsed(text: &str, file: usize) -> Result<Vec<Rc<Node>>, Placed<String>> {
    let mut reader = Reader::default();
    // The parser's own lines end at a carriage return alone, too; those of editors and of the output do not.
    let starts = line_starts(text);
    let spot = |marker: &Marker| {
        let line = starts.partition_point(|start| *start <= marker.index());
        let start = line.checked_sub(1).and_then(|index| starts.get(index));
        Spot {
            file,
            line,
            column: marker.index() - start.unwrap_or(&0) + 1,
        }
    };
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| Placed::new(error.info().to_owned(), spot(error.marker())))?;
        reader.take(event, spot(&span.start))?;
    }
    Ok(reader.documents)
}

/// Where each line begins, in characters, as the parser counts; the first one at 0.
fn line_starts(text: &str) -> Vec<usize> {
    let ends = text.chars().enumerate().filter(|(_, c)| *c == '\n');
    iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
}

#[derive(Default)]
struct Reader {
    documents: Vec<Rc<Node>>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, at: Spot) -> Result<(), Placed<String>> {
        match event {
            Event::SequenceStart(anchor, tag) => {
                let begun = Begun::new(at, anchor, tag);
                self.open.push(Open::List(begun, Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                let begun = Begun::new(at, anchor, tag);
                self.open.push(Open::Map(begun, Vec::new(), None));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (begun, kind) = match self.open.pop() {
                    Some(Open::List(begun, list)) => (begun, Kind::List(list)),
                    Some(Open::Map(begun, entries, _)) => (begun, Kind::Map(entries)),
                    None => return Ok(()),
                };
                self.add(begun, kind);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let kind = Kind::Scalar {
                    text: text.into_owned(),
                    is_plain: style == ScalarStyle::Plain,
                };
                self.add(Begun::new(at, anchor, tag), kind);
            }
            Event::Alias(anchor) => {
                // One that holds itself is not complete yet, and stands for nothing.
                let node = self.anchors.get(&anchor).cloned();
                self.put(node.unwrap_or_else(|| Rc::new(null(at))));
            }
            _ => {}
        }
        if self.open.len() > DEEPEST {
            return Err(Placed::new("it is nested too deeply".to_owned(), at));
        }
        Ok(())
    }

    fn add(&mut self, begun: Begun, kind: Kind) {
        let Begun { at, anchor, tag } = begun;
        let node = Rc::new(Node { at, kind, tag });
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.put(node);
    }

    fn put(&mut self, node: Rc<Node>) {
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(Open::List(_, list)) => list.push(node),
            Some(Open::Map(_, entries, key)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(node),
            },
        }
    }
}

fn null(at: Spot) -> Node {
    let kind = Kind::Scalar {
        text: String::new(),
        is_plain: true,
    };
    let tag = None;
    Node { at, kind, tag }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Rc<Node> {
        documents(text, 0).unwrap().remove(0)
    }

    #[test]
    fn every_node_has_its_place() {
        let root = one("a:\n  b: c\n  d:\n    - e\n    - {f: g}\n");
        let spot = |path: &[&str]| root.at(path).map(|node| (node.at.line, node.at.column));
        assert_eq!(spot(&["a", "b"]), Some((2, 6)));
        let list = root.at(&["a", "d"]).unwrap().list().unwrap();
        assert_eq!((list[0].at.line, list[0].at.column), (4, 7));
        assert_eq!(list[1].get("f").unwrap().at.column, 11);
        let entries = root.get("a").unwrap().entries();
        let key = entries.iter().find(|(key, _)| key.text() == Some("d"));
        assert_eq!(
            key.map(|(key, _)| (key.at.line, key.at.column)),
            Some((3, 3))
        );
    }

    #[test]
    fn a_carriage_return_alone_ends_no_line() {
        let root = one("a: b\rc: d\r\né: {f: g}\n");
        let spot = |path: &[&str]| root.at(path).map(|node| (node.at.line, node.at.column));
        assert_eq!(spot(&["c"]), Some((1, 9)));
        assert_eq!(spot(&["é", "f"]), Some((2, 8)));
    }

    #[test]
    fn aliases_and_merge_keys_are_followed() {
        let text = "x: &x {a: 1, b: 2}\ny: &y\n  <<: *x\n  b: 3\nz:\n  <<: [*y, *x]\n  c: *y\n";
        let root = one(text);
        let number = |path: &[&str]| root.at(path).and_then(|node| node.number());
        assert_eq!(number(&["y", "a"]), Some(1));
        assert_eq!(number(&["y", "b"]), Some(3));
        assert_eq!(number(&["z", "b"]), Some(3));
        assert_eq!(number(&["z", "c", "a"]), Some(1));
        let names: Vec<_> = root.get("z").unwrap().entries();
        let names: Vec<_> = names.iter().filter_map(|(key, _)| key.text()).collect();
        assert_eq!(names, ["c", "b", "a"]);
    }

    #[test]
    fn several_documents_and_none() {
        assert_eq!(documents("a: 1\n---\nb: 2\n", 0).unwrap().len(), 2);
        assert_eq!(documents("# nothing\n", 0).unwrap().len(), 0);
        assert!(one("---\n").is_null());
        let root = one("a:\n  b: [\n    c,\n  ]\n  d: e\n");
        assert_eq!(root.at(&["a", "d"]).map(|node| node.at.line), Some(5));
    }

    #[test]
    fn what_is_no_yaml_has_a_place() {
        let error = documents("a: [1\nb: }\n", 0).unwrap_err();
        assert_eq!(error.at.line, 2, "{error:?}");
        assert!(documents(&"[".repeat(5000), 0).is_err());
        // One that holds itself, and many that hold many.
        assert!(documents("&a [*a]", 0).is_ok());
        let mut bomb = "a0: &a0 [x, x]\n".to_owned();
        for n in 1..40 {
            bomb += &format!("a{n}: &a{n} [*a{m}, *a{m}]\n", m = n - 1);
        }
        assert!(documents(&bomb, 0).is_ok());
    }
}
