//! One self-contained page with the timelines of all runs: no script, no font, no request; readable on a
//! phone, on paper, in light and dark.

mod markup;

use std::time::Duration;

use super::compare;
use super::text;
use crate::check::history::Part;
use crate::check::judge::statistics::PhaseTimes;
use crate::check::judge::{Fate, Held};
use crate::check::{CheckResult, JudgedRun};
use crate::words::duration::Shown;
use markup::Html;

const STYLE: &str = include_str!("html/style.css");

/// The page.
///
/// # Errors
/// None; the type is that of the other reports.
pub(crate) fn page(result: &CheckResult) -> Result<String, String> {
    let check = &result.check;
    let command = shown(&check.command);
    let (class, word) = badge(result.held());
    let mut page = Html::default();
    page.put(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}: {}</title>\n<style>\n",
        &[&word, &command],
    );
    page.put(STYLE, &[]);
    page.put(
        "</style>\n</head>\n<body>\n<header>\n<p class=\"kind\">stepdown check</p>\n\
         <h1><code>{}</code></h1>\n<p class=\"verdict {}\"><b>{}</b> {}</p>\n",
        &[&command, &class, &word, &text::sentence(result)],
    );
    if let Some(variant) = check.variants.first() {
        let promise = &variant.promise;
        let as_pid1 = if promise.as_pid1 { "; as PID 1" } else { "" };
        let replaced = if promise.replace {
            "Replaced under load, then stopped"
        } else {
            "Stopped"
        };
        page.put(
            "<p class=\"how\">{} by {}; gone within {}{}.</p>\n",
            &[&replaced, &promise.asks(), &Shown(promise.within), &as_pid1],
        );
    }
    page.put("</header>\n<main>\n", &[]);
    if !result.windows.is_empty() {
        page.put("<section>\n<h2>Windows</h2>\n<ul class=\"windows\">\n", &[]);
        for window in &result.windows {
            page.put("<li>", &[]);
            if !window.variant.is_empty() {
                page.put("<b>{}:</b> ", &[&window.variant]);
            }
            page.put("{}</li>\n", &[&window.text]);
        }
        page.put("</ul>\n</section>\n", &[]);
    }
    side_by_side(&mut page, result);
    table(&mut page, &result.rows);
    // One scale for all, so that variants can be compared.
    let longest = result
        .runs
        .iter()
        .filter_map(|run| run.history.took())
        .max();
    let longest = longest.unwrap_or_default().max(Duration::from_micros(1));
    for (index, variant) in check.variants.iter().enumerate() {
        let runs = result.runs.iter().filter(|run| run.variant == index);
        timelines(&mut page, variant.name, &runs.collect::<Vec<_>>(), longest);
    }
    page.put(
        "</main>\n<footer>stepdown {}, <time>{}</time></footer>\n</body>\n</html>\n",
        &[
            &env!("CARGO_PKG_VERSION"),
            &humantime::format_rfc3339_seconds(result.began),
        ],
    );
    Ok(page.into_string())
}

/// The command as one would type it, cut where it is a whole script.
fn shown(command: &[std::ffi::OsString]) -> String {
    const LONGEST: usize = 160;
    let words = command.iter().map(|word| word.to_string_lossy());
    let quoted = words.map(|word| {
        let quoted = shlex::try_quote(&word).map(std::borrow::Cow::into_owned);
        quoted.unwrap_or_else(|_| word.clone().into_owned())
    });
    let text = quoted.collect::<Vec<_>>().join(" ");
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

fn badge(held: Held) -> (&'static str, &'static str) {
    match held {
        Held::Yes | Held::NotJudged => ("held", "Held"),
        Held::Unknown => ("unknown", "Unknown"),
        Held::No => ("broken", "Broken"),
    }
}

fn side_by_side(page: &mut Html, result: &CheckResult) {
    let lines = compare::lines(result);
    if lines.is_empty() {
        return;
    }
    page.put(
        "<section>\n<h2>Side by side</h2>\n<table>\n<thead><tr><th scope=\"col\">promise</th>",
        &[],
    );
    for variant in &result.check.variants {
        page.put("<th scope=\"col\">{}</th>", &[&variant.name]);
    }
    page.put("</tr></thead>\n<tbody>\n", &[]);
    for line in lines {
        page.put("<tr><th scope=\"row\">{}</th>", &[&line.about]);
        for cell in line.cells {
            let class = cell.held.map_or("", class);
            page.put("<td class=\"{}\"><b>{}</b></td>", &[&class, &cell.text]);
        }
        page.put("</tr>\n", &[]);
    }
    page.put("</tbody>\n</table>\n</section>\n", &[]);
}

/// One promise, as a class of the page's style.
fn class(held: Held) -> &'static str {
    match held {
        Held::NotJudged => "skipped",
        Held::Yes => "held",
        Held::Unknown => "unknown",
        Held::No => "broken",
    }
}

fn table(page: &mut Html, rows: &[PhaseTimes]) {
    if rows.is_empty() {
        return;
    }
    page.put(
        "<section>\n<h2>Times</h2>\n<table>\n<thead><tr><th scope=\"col\">phase</th>\
         <th scope=\"col\">min</th><th scope=\"col\">p50</th><th scope=\"col\">p95</th>\
         <th scope=\"col\">max</th><th scope=\"col\">runs</th></tr></thead>\n<tbody>\n",
        &[],
    );
    for row in rows {
        page.put(
            "<tr><th scope=\"row\">{} <small>{}</small></th>",
            &[&row.phase, &row.variant],
        );
        for micros in [row.min_us, row.p50_us, row.p95_us, row.max_us] {
            page.put("<td>{}</td>", &[&Shown(Duration::from_micros(micros))]);
        }
        page.put("<td>{}</td></tr>\n", &[&row.runs]);
    }
    page.put("</tbody>\n</table>\n</section>\n", &[]);
}

fn timelines(page: &mut Html, name: &str, runs: &[&JudgedRun], longest: Duration) {
    page.put("<section>\n<h2>Runs", &[]);
    if !name.is_empty() {
        page.put(" {}", &[&name]);
    }
    page.put("</h2>\n", &[]);
    legend(page, runs);
    page.put(
        "<p class=\"scale\"><span>0 s</span><span>{}</span></p>\n",
        &[&Shown(longest)],
    );
    // One run is shown open, the others can be opened.
    let first = runs
        .iter()
        .position(|run| run.verdict.broken().next().is_some());
    for (index, run) in runs.iter().enumerate() {
        let (class, word) = badge(run.verdict.held());
        let word = match run.verdict.fate {
            Fate::Lost if class == "broken" => "Lost",
            Fate::Slow if class == "broken" => "Slow",
            _ => word,
        };
        let offset = run.offset.map(|offset| format!(" at {}", Shown(offset)));
        let offset = offset.unwrap_or_default();
        let open = if first == Some(index) { " open" } else { "" };
        page.put(
            "<details class=\"run {}\"{}>\n<summary><span class=\"number\">{}{}</span> \
             <b>{}</b> <span class=\"summary\">{}</span>\n",
            &[
                &class,
                &open,
                &run.number,
                &offset,
                &word,
                &run.verdict.summary,
            ],
        );
        bar(page, run, longest);
        page.put("</summary>\n", &[]);
        findings(page, run);
        records(page, run);
        page.put("</details>\n", &[]);
    }
    page.put("</section>\n", &[]);
}

/// The parts that these runs have.
fn legend(page: &mut Html, runs: &[&JudgedRun]) {
    let there: Vec<Part> = runs
        .iter()
        .flat_map(|run| run.history.parts())
        .filter_map(|(part, took)| (!took.is_zero()).then_some(part))
        .collect();
    page.put("<p class=\"legend\">", &[]);
    for part in [
        Part::Before,
        Part::Ladder,
        Part::Vain,
        Part::Kill,
        Part::Left,
        Part::After,
    ] {
        if there.contains(&part) {
            let (class, about) = told(part);
            page.put("<span><i class=\"{}\"></i> {}</span> ", &[&class, &about]);
        }
    }
    page.put("</p>\n", &[]);
}

/// One run as lengths, in percent of the longest run.
fn bar(page: &mut Html, run: &JudgedRun, longest: Duration) {
    page.put("<span class=\"bar\">", &[]);
    for (part, took) in run.history.parts() {
        if took.is_zero() {
            continue;
        }
        let width = (took.as_secs_f64() * 100.0 / longest.as_secs_f64()).clamp(0.0, 100.0);
        let (class, _) = told(part);
        page.put(
            "<i class=\"{}\" style=\"width:{}%\"></i>",
            &[&class, &format_args!("{width:.2}")],
        );
    }
    page.put("</span>", &[]);
}

/// The style of a part, and what the legend says of it.
fn told(part: Part) -> (&'static str, &'static str) {
    match part {
        Part::Before => ("before", "hooks and drain"),
        Part::Ladder => ("stop", "until the command had ended"),
        Part::Vain => ("vain", "in vain, until KILL"),
        Part::Kill => ("kill", "after KILL"),
        Part::Left => ("left", "what it left"),
        Part::After => ("after", "post-stop hooks"),
    }
}

fn findings(page: &mut Html, run: &JudgedRun) {
    page.put("<ul class=\"promises\">\n", &[]);
    for finding in &run.verdict.findings {
        let class = class(finding.held);
        let word = match finding.held {
            Held::NotJudged => "not judged",
            _ => class,
        };
        page.put(
            "<li class=\"{}\"><b>{}</b> {}: {}",
            &[&class, &word, &finding.promised, &finding.happened],
        );
        if let Some(reason) = &finding.reason {
            page.put(
                "<p><b>Probably:</b> {}.<br><b>Way out:</b> {}.</p>",
                &[&reason.why, &reason.way_out],
            );
        }
        page.put("</li>\n", &[]);
    }
    page.put("</ul>\n", &[]);
}

fn records(page: &mut Html, run: &JudgedRun) {
    page.put("<ol class=\"records\">\n", &[]);
    for fact in run
        .history
        .facts
        .iter()
        .filter(|fact| !fact.text.is_empty())
    {
        page.put(
            "<li><time>{}</time> <span>{}</span></li>\n",
            &[&Shown(fact.at()), &fact.text],
        );
    }
    page.put("</ol>\n", &[]);
    if !run.history.output.is_empty() {
        page.put(
            "<p class=\"last\">The last lines that it wrote:</p>\n<pre>{}</pre>\n",
            &[&run.history.output.join("\n")],
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::check::fact::{Fact, What};
    use crate::check::history::History;
    use crate::check::judge::cause::Cause;
    use crate::check::judge::window::Window;
    use crate::check::judge::{Finding, Verdict};
    use crate::check::options::parse;
    use crate::options::Settings;

    /// A check of two variants in which every text that a page shows tries to become markup.
    fn hostile(text: &dyn Fn(&str) -> String) -> CheckResult {
        let mut settings = Settings::default();
        settings.set("compare", "on");
        let mut check = parse(settings, vec![text("command").into()]).unwrap();
        for variant in &mut check.variants {
            variant.promise.steps = vec![text("step")];
        }
        let finding = Finding {
            promise: "within",
            promised: text("promised"),
            happened: text("happened"),
            held: Held::No,
            reason: Some(Cause {
                why: text("why"),
                way_out: text("way-out"),
            }),
        };
        let run = JudgedRun {
            number: 1,
            variant: 0,
            offset: None,
            history: History {
                facts: vec![Fact::new(Duration::ZERO, What::Other, text("fact"))],
                output: vec![text("output"), text("last-line")],
                ..History::default()
            },
            verdict: Verdict {
                findings: vec![finding],
                fate: Fate::Broken,
                summary: text("summary"),
            },
        };
        let window = Window {
            variant: "plain",
            from_ms: 1,
            to_ms: 2,
            fate: Fate::Lost,
            text: text("window"),
        };
        CheckResult {
            began: SystemTime::UNIX_EPOCH,
            check,
            runs: vec![run],
            planned: 1,
            windows: vec![window],
            rows: Vec::new(),
        }
    }

    #[test]
    fn no_text_becomes_markup() {
        const FIELDS: [&str; 10] = [
            "command",
            "step",
            "promised",
            "happened",
            "why",
            "way-out",
            "fact",
            "output",
            "last-line",
            "summary",
        ];
        let markup = |name: &str| format!("{name}<script a=\"b\">&amp;</script>");
        let page = page(&hostile(&markup)).unwrap();
        assert!(
            !page.contains("<script") && !page.contains("</script"),
            "{page}"
        );
        for name in FIELDS.into_iter().chain(["window"]) {
            let text = format!("{name}&lt;script a=&quot;b&quot;&gt;&amp;amp;&lt;/script&gt;");
            assert!(page.contains(&text), "{name}: {page}");
        }
        // With other texts the markup is the same.
        let plain = super::page(&hostile(&str::to_owned)).unwrap();
        assert_eq!(page.matches('<').count(), plain.matches('<').count());
    }

    #[test]
    fn control_characters_are_shown_as_what_cannot_be_shown() {
        let page = page(&hostile(&|name| format!("{name}\u{7}\u{1b}[0m"))).unwrap();
        assert!(page.contains("summary\u{fffd}\u{fffd}[0m"), "{page}");
        assert!(!page.contains(['\u{7}', '\u{1b}']), "{page}");
    }
}
