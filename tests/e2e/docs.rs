//! The pages hold together: every link leads to a page and a heading that exist, and the contents name every page.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::pages::{self, Page, root};
use crate::support::{binary, need};

/// The lines of a page that are no part of a block.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    })
}

/// The anchors of its headings, as GitHub and mdBook make them.
fn anchors(page: &Page) -> BTreeSet<String> {
    let headings = prose(&page.text).filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// Where its links lead that stay in the repository.
fn links(page: &Page) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(&page.text) {
        for start in ["](", "src=\"", "srcset=\""] {
            let rest = line.split(start).skip(1);
            found.extend(rest.filter_map(|rest| rest.split([')', '"']).next().map(str::to_owned)));
        }
        if let Some((_, to)) = line
            .strip_prefix('[')
            .and_then(|line| line.split_once("]: "))
        {
            found.push(to.to_owned());
        }
    }
    found.retain(|link| !link.contains("://"));
    found
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages::all();
    let mut count = 0;
    for page in &pages {
        let directory = page.path.parent().expect("a directory");
        for link in links(page) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let path = if file.is_empty() {
                page.path.clone()
            } else {
                directory.join(file)
            };
            let whence = page.path.display();
            let path = path.canonicalize();
            let path = path.unwrap_or_else(|error| panic!("{whence}: {link}: {error}"));
            if !anchor.is_empty() {
                let there = pages.iter().find(|page| page.path == path);
                let there = there.unwrap_or_else(|| panic!("{whence}: {link} is in no page"));
                let anchors = anchors(there);
                assert!(anchors.contains(anchor), "{whence}: {link}: {anchors:?}");
            }
            count += 1;
        }
    }
    assert!(count > 50, "only {count} links were found");
}

/// mdBook copies what is in `docs`, and nothing else.
#[test]
fn no_link_of_the_book_leads_out_of_it() {
    need!(binary::installed("/usr/bin/python3"));
    let docs = root().join("docs");
    let mut pages = pages::all();
    pages.retain(|page| page.path.starts_with(&docs));
    let chapter = |page: &Page| {
        let path = page.path.strip_prefix(&docs).expect("below docs");
        json!({"Chapter": {"path": path, "content": page.text, "sub_items": []}})
    };
    let chapters: Vec<Value> = pages.iter().map(chapter).collect();
    let mut script = Command::new(root().join("scripts/book-links"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a script of ours");
    let book = json!([{}, {"items": chapters}]).to_string();
    let mut stdin = script.stdin.take().expect("a pipe");
    // It reads all before it writes.
    stdin.write_all(book.as_bytes()).expect("a reader");
    drop(stdin);
    let ran = script.wait_with_output().expect("our own child");
    assert!(ran.status.success());
    let book: Value = serde_json::from_slice(&ran.stdout).expect("a book");
    let chapters = book["items"].as_array().expect("chapters");
    assert_eq!(chapters.len(), pages.len());
    let manifest = pages::page("Cargo.toml");
    let repository = manifest.split("repository = \"").nth(1);
    let repository = repository.and_then(|rest| rest.split('"').next());
    let address = format!("{}/blob/main/", repository.expect("an address"));
    let mut count = 0;
    for (page, chapter) in pages.iter().zip(chapters) {
        let text = chapter["Chapter"]["content"].as_str().expect("a text");
        let page = Page {
            path: page.path.clone(),
            text: text.to_owned(),
        };
        let out: Vec<String> = links(&page)
            .into_iter()
            .filter(|link| link.starts_with("../"))
            .collect();
        assert!(out.is_empty(), "{}: {out:?}", page.path.display());
        for rest in text.split(&address).skip(1) {
            let file = rest.split([')', '#']).next().expect("a path");
            assert!(root().join(file).exists(), "{file}");
            count += 1;
        }
    }
    assert!(count > 10, "only {count} links were found");
}

#[test]
fn the_contents_name_every_page() {
    for contents in ["README.md", "docs/SUMMARY.md"] {
        let page = Page {
            path: root().join(contents),
            text: pages::page(contents),
        };
        let linked: BTreeSet<String> = links(&page).into_iter().collect();
        for page in pages::all() {
            let path = page.path.strip_prefix(root()).expect("below the root");
            let name = path.display().to_string();
            if ["README.md", "docs/SUMMARY.md"].contains(&name.as_str()) {
                continue;
            }
            let link = if contents == "README.md" {
                name.as_str()
            } else {
                name.trim_start_matches("docs/")
            };
            assert!(linked.contains(link), "{contents} does not name {link}");
        }
    }
}

#[test]
fn the_readme_is_short() {
    let lines = pages::page("README.md").lines().count();
    assert!(lines <= 150, "{lines} lines");
}

#[test]
fn the_table_of_platforms_is_that_of_explain() {
    let page = pages::page("docs/faq.md");
    let (_, rows) = page.split_once("| platform |").expect("a table");
    let mut count = 0;
    for row in rows.lines().skip(2).take_while(|row| row.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, signal, grace, setting, source] = cells[..] else {
            panic!("{row}");
        };
        let explained = Command::new(binary::under_test())
            .args(["explain", "--grace", "1s", "--platform", name])
            .output()
            .expect("our own binary");
        let told = String::from_utf8_lossy(&explained.stdout);
        let signal: String = signal.chars().filter(|c| *c != '`').collect();
        let (signal, note) = signal.split_once(": ").unwrap_or((&signal, ""));
        let seconds = grace.strip_suffix(" s").expect("seconds");
        assert!(
            told.contains(&format!(
                "{name} sends {signal} and, {seconds}.0 s later, KILL"
            )),
            "{row}\n{told}"
        );
        let setting = if setting == "fixed" { "" } else { setting };
        let (url, date) = source
            .split_once("](")
            .expect("a link")
            .1
            .split_once("), ")
            .expect("a date");
        for part in [note, setting, url, date] {
            assert!(told.contains(part), "{part}: {told}");
        }
        count += 1;
    }
    let all = pages::page("src/explain/platform.rs")
        .matches("    row(")
        .count();
    assert_eq!(count, all);
}
