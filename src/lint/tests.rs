use std::fs;
use std::path::{Path, PathBuf};

use super::dockerfile::Image;
use super::shell::Text;
use super::{kubernetes, unit, yaml};

/// The files of the stories, and the examples.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Each parser reads each file, cut off at each character.
#[test]
fn no_parser_panics_at_a_text_that_ends_early() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    files(&root.join("tests/lint"), &mut all);
    files(&root.join("scripts/examples"), &mut all);
    assert!(all.len() > 50, "{all:?}");
    for path in all {
        let text = fs::read_to_string(path).unwrap();
        for (end, _) in text.char_indices() {
            let text = &text[..end];
            if let Ok(documents) = yaml::documents(text, 0) {
                let objects = kubernetes::objects(&documents);
                let _ = kubernetes::containers(&objects, &objects);
            }
            let _ = Image::read(text, 0, Path::new("/nowhere"));
            let _ = unit::run([(0, text)], "a");
            let _ = Text::read(text).map(|text| format!("{:?}", text.fate()));
        }
    }
}

#[test]
fn what_is_in_another_namespace_is_of_another_pod() {
    let pod = |namespace: &str| {
        format!(
            "kind: Pod\nmetadata: {{ name: a, labels: {{ app: a }}, {namespace} }}\nspec:\n  containers:\n  - name: c\n    \
             envFrom: [{{ configMapRef: {{ name: m }} }}]\n---\n"
        )
    };
    let others = "kind: Service\nmetadata: { name: s, namespace: x }\nspec: { selector: { app: a } }\n---\n\
                  kind: ConfigMap\nmetadata: { name: m, namespace: x }\ndata: { A: b }\n";
    for (namespace, is_beside) in [("namespace: x", true), ("namespace: y", false), ("", true)] {
        let documents = yaml::documents(&format!("{}{others}", pod(namespace)), 0).unwrap();
        let run = kubernetes::containers(&documents, &documents).remove(0).run;
        assert_eq!(run.balancer.is_some(), is_beside, "{namespace}");
        assert_eq!(run.environment.variables.len(), usize::from(is_beside));
        assert_eq!(run.environment.has_others, !is_beside, "{namespace}");
    }
}
