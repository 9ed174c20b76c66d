//! The page of `stepdown check --html` in a real browser: on a phone, on a wide screen, in the dark, on paper.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::stepdown::can_be_pid1;
use crate::support::{Stepdown, binary, need};

const CHROMIUM: &str = "/usr/bin/chromium";

/// What Chromium prints when it opens this page.
#[track_caller]
fn chromium(page: &Path, options: &[&str]) -> String {
    let profile = tempfile::tempdir().expect("a directory");
    let ran = Command::new(CHROMIUM)
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-dev-shm-usage", "--allow-file-access-from-files"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(options)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("chromium");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}: {told}", ran.status);
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// A page with all that there can be: two variants, long words, a broken promise, a table.
fn page(directory: &Path) -> PathBuf {
    let page = directory.join("page.html");
    let word = "a-word-without-any-place-to-break-it-".repeat(8);
    let script = format!("echo '<b>{word}</b>'; echo ready; sleep 1000; exit 0");
    let ended = Stepdown::new()
        .args(["check", "--compare", "--ready-line=ready", "--runs=2"])
        .args(["--within=1s", &format!("--html={}", page.display())])
        .shell(&script)
        .run();
    ended.code(1).nothing_left();
    page
}

/// What a script sees of the page in a window of this width; the page itself has none.
fn seen(page: &Path, width: u32, expression: &str, options: &[&str]) -> String {
    let outer = page.with_file_name(format!("window-{width}.html"));
    let text = format!(
        "<iframe id=\"page\" src=\"page.html\" style=\"width:{width}px;height:3000px;border:0\"></iframe>\
         <script>onload = () => {{ const page = document.getElementById('page').contentDocument; \
         const seen = {expression}; document.body.innerHTML = '<p>[seen ' + seen + ']</p>'; }}</script>"
    );
    fs::write(&outer, text).expect("a directory of our own");
    let options: Vec<&str> = options.iter().copied().chain(["--dump-dom"]).collect();
    let dom = chromium(&outer, &options);
    let seen = dom
        .split_once("[seen ")
        .and_then(|(_, rest)| rest.split_once(']'));
    let (seen, _) = seen.unwrap_or_else(|| panic!("nothing was seen in\n{dom}"));
    seen.to_owned()
}

#[test]
fn it_fits_a_phone_and_a_wide_screen() {
    need!(binary::installed(CHROMIUM));
    need!(can_be_pid1());
    let directory = tempfile::tempdir().expect("a directory");
    let page = page(directory.path());
    for width in [320, 375, 1200] {
        // Nothing but what scrolls by itself is wider than the window, and no table has to.
        let widest = "[...page.querySelectorAll('body, header, section, table, pre, details')]\
                      .reduce((most, e) => Math.max(most, Math.ceil(e.getBoundingClientRect().right)), \
                      page.documentElement.scrollWidth)";
        let widest: u32 = seen(&page, width, widest, &[]).parse().expect("a number");
        assert!(widest <= width, "{widest} in a window of {width}");
    }
    // Large enough to be read, and to be touched.
    let size = "getComputedStyle(page.body).fontSize";
    assert_eq!(seen(&page, 375, size, &[]), "16px");
    let texts = seen(
        &page,
        375,
        "[...page.querySelectorAll('h2, th[scope=col]')].map(e => e.textContent).join('|')",
        &[],
    );
    for text in [
        "Side by side",
        "Times",
        "Runs without stepdown",
        "Runs with stepdown",
        "p95",
    ] {
        assert!(texts.contains(text), "{text:?} in {texts}");
    }
}

#[test]
fn it_is_light_or_dark_as_the_reader_wants() {
    need!(binary::installed(CHROMIUM));
    need!(can_be_pid1());
    let directory = tempfile::tempdir().expect("a directory");
    let page = page(directory.path());
    let colours =
        "getComputedStyle(page.body).backgroundColor + ' ' + getComputedStyle(page.body).color";
    let light = seen(&page, 800, colours, &[]);
    let dark = seen(&page, 800, colours, &["--force-dark-mode"]);
    assert_eq!(light, "rgb(255, 255, 255) rgb(27, 31, 36)");
    assert_eq!(dark, "rgb(13, 17, 23) rgb(230, 237, 243)");
}

#[test]
fn it_needs_no_script_and_nothing_from_elsewhere() {
    need!(binary::installed(CHROMIUM));
    need!(can_be_pid1());
    let directory = tempfile::tempdir().expect("a directory");
    let page = page(directory.path());
    let foreign = "page.querySelectorAll('script, link, img, iframe, object, b b, [src], [href], [onclick]').length";
    assert_eq!(seen(&page, 800, foreign, &[]), "0");
    // The first broken run shows all of itself, the others open by the browser's own means.
    let open = "[...page.querySelectorAll('details')].map(e => e.open).join()";
    assert_eq!(seen(&page, 800, open, &[]), "true,false,false,false");
    let bars =
        "[...page.querySelectorAll('.bar i')].every(e => e.getBoundingClientRect().width >= 2)";
    assert_eq!(seen(&page, 800, bars, &[]), "true");
    // What the command writes stays text.
    let output = "page.querySelector('pre').textContent.includes('<b>a-word-without')";
    assert_eq!(seen(&page, 800, output, &[]), "true");
}

#[test]
fn it_can_be_printed_and_shot() {
    need!(binary::installed(CHROMIUM));
    need!(can_be_pid1());
    let directory = tempfile::tempdir().expect("a directory");
    let page = page(directory.path());
    let pdf = directory.path().join("page.pdf");
    chromium(&page, &[&format!("--print-to-pdf={}", pdf.display())]);
    let printed = fs::read(&pdf).expect("a file");
    assert!(printed.starts_with(b"%PDF-"));
    let text = String::from_utf8_lossy(&printed);
    let pages = text.matches("/Type /Page\n").count();
    // Not one page a run, and no page that is pushed away by what does not fit on it.
    assert!((1..=3).contains(&pages), "{pages} pages");
    let shot = |name: &str, options: &[&str]| {
        let file = directory.path().join(name);
        let screenshot = format!("--screenshot={}", file.display());
        let all = [&[screenshot.as_str(), "--window-size=800,1000"], options].concat();
        chromium(&page, &all);
        fs::read(file).expect("a file")
    };
    let (light, dark) = (
        shot("light.png", &[]),
        shot("dark.png", &["--force-dark-mode"]),
    );
    assert!(light.starts_with(b"\x89PNG") && light.len() > 10_000);
    assert!(dark.starts_with(b"\x89PNG") && dark != light);
}
