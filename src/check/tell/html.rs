//! One self-contained page with the timelines of all runs: no script, no font, no request; readable on a
//! phone, on paper, in light and dark.

use std::fmt::Write as _;
use std::time::Duration;

use super::compare;
use super::text;
use crate::check::history::Part;
use crate::check::judge::statistics::PhaseTimes;
use crate::check::judge::{Fate, Held};
use crate::check::{CheckResult, JudgedRun};
use crate::words::duration::Shown;

const STYLE: &str = include_str!("html/style.css");

/// The page.
///
/// # Errors
/// None; the type is that of the other reports.
pub(crate) fn page(result: &CheckResult) -> Result<String, String> {
    let check = &result.check;
    let command = escaped(&shown(&check.command));
    let (class, word) = badge(result.held());
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{word}: {command}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<p class=\"kind\">stepdown check</p>\n\
         <h1><code>{command}</code></h1>\n\
         <p class=\"verdict {class}\"><b>{word}</b> {}</p>\n",
        escaped(&text::sentence(result))
    );
    if let Some(variant) = check.variants.first() {
        let promise = &variant.promise;
        let _ = writeln!(
            page,
            "<p class=\"how\">Stopped by {}; gone within {}{}.</p>",
            escaped(&promise.asks()),
            Shown(promise.within),
            if promise.as_pid1 { "; as PID 1" } else { "" }
        );
    }
    page.push_str("</header>\n<main>\n");
    if !result.windows.is_empty() {
        page.push_str("<section>\n<h2>Windows</h2>\n<ul class=\"windows\">\n");
        for window in &result.windows {
            let name = match window.variant {
                "" => String::new(),
                name => format!("<b>{name}:</b> "),
            };
            let _ = writeln!(page, "<li>{name}{}</li>", escaped(&window.text));
        }
        page.push_str("</ul>\n</section>\n");
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
        let runs: Vec<&JudgedRun> = result
            .runs
            .iter()
            .filter(|run| run.variant == index)
            .collect();
        timelines(&mut page, variant.name, &runs, longest);
    }
    let _ = write!(
        page,
        "</main>\n<footer>stepdown {}, <time>{}</time></footer>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        humantime::format_rfc3339_seconds(result.began),
    );
    Ok(page)
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

fn side_by_side(page: &mut String, result: &CheckResult) {
    let lines = compare::lines(result);
    if lines.is_empty() {
        return;
    }
    page.push_str(
        "<section>\n<h2>Side by side</h2>\n<table>\n<thead><tr><th scope=\"col\">promise</th>",
    );
    for variant in &result.check.variants {
        let _ = write!(page, "<th scope=\"col\">{}</th>", variant.name);
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for line in lines {
        let _ = write!(page, "<tr><th scope=\"row\">{}</th>", line.about);
        for cell in line.cells {
            let class = cell.held.map_or("", class);
            let _ = write!(page, "<td class=\"{class}\"><b>{}</b></td>", cell.text);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
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

fn table(page: &mut String, rows: &[PhaseTimes]) {
    if rows.is_empty() {
        return;
    }
    page.push_str(
        "<section>\n<h2>Times</h2>\n<table>\n<thead><tr><th scope=\"col\">phase</th>\
         <th scope=\"col\">min</th><th scope=\"col\">p50</th><th scope=\"col\">p95</th>\
         <th scope=\"col\">max</th><th scope=\"col\">runs</th></tr></thead>\n<tbody>\n",
    );
    for row in rows {
        let _ = write!(
            page,
            "<tr><th scope=\"row\">{} <small>{}</small></th>",
            row.phase, row.variant
        );
        for micros in [row.min_us, row.p50_us, row.p95_us, row.max_us] {
            let _ = write!(page, "<td>{}</td>", Shown(Duration::from_micros(micros)));
        }
        let _ = writeln!(page, "<td>{}</td></tr>", row.runs);
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
}

fn timelines(page: &mut String, name: &str, runs: &[&JudgedRun], longest: Duration) {
    let title = match name {
        "" => "Runs".to_owned(),
        name => format!("Runs {name}"),
    };
    let _ = writeln!(page, "<section>\n<h2>{title}</h2>");
    legend(page, runs);
    let _ = writeln!(
        page,
        "<p class=\"scale\"><span>0 s</span><span>{}</span></p>",
        Shown(longest)
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
        let open = if first == Some(index) { " open" } else { "" };
        let _ = writeln!(
            page,
            "<details class=\"run {class}\"{open}>\n<summary><span class=\"number\">{}{}</span> \
             <b>{word}</b> <span class=\"summary\">{}</span>\n{}</summary>",
            run.number,
            offset.unwrap_or_default(),
            escaped(&run.verdict.summary),
            bar(run, longest)
        );
        findings(page, run);
        records(page, run);
        page.push_str("</details>\n");
    }
    page.push_str("</section>\n");
}

/// The parts that these runs have.
fn legend(page: &mut String, runs: &[&JudgedRun]) {
    let there: Vec<Part> = runs
        .iter()
        .flat_map(|run| run.history.parts())
        .filter_map(|(part, took)| (!took.is_zero()).then_some(part))
        .collect();
    page.push_str("<p class=\"legend\">");
    for part in [
        Part::Before,
        Part::Ladder,
        Part::Vain,
        Part::Kill,
        Part::Left,
    ] {
        if there.contains(&part) {
            let (class, about) = told(part);
            let _ = write!(page, "<span><i class=\"{class}\"></i> {about}</span> ");
        }
    }
    page.push_str("</p>\n");
}

/// One run as lengths, in percent of the longest run.
fn bar(run: &JudgedRun, longest: Duration) -> String {
    let mut bar = "<span class=\"bar\">".to_owned();
    for (part, took) in run.history.parts() {
        if took.is_zero() {
            continue;
        }
        let width = (took.as_secs_f64() * 100.0 / longest.as_secs_f64()).clamp(0.0, 100.0);
        let (class, _) = told(part);
        let _ = write!(bar, "<i class=\"{class}\" style=\"width:{width:.2}%\"></i>");
    }
    bar.push_str("</span>");
    bar
}

/// The style of a part, and what the legend says of it.
fn told(part: Part) -> (&'static str, &'static str) {
    match part {
        Part::Before => ("before", "hooks and drain"),
        Part::Ladder => ("stop", "until the command had ended"),
        Part::Vain => ("vain", "in vain, until KILL"),
        Part::Kill => ("kill", "after KILL"),
        Part::Left => ("left", "what it left"),
    }
}

fn findings(page: &mut String, run: &JudgedRun) {
    page.push_str("<ul class=\"promises\">\n");
    for finding in &run.verdict.findings {
        let class = class(finding.held);
        let word = match finding.held {
            Held::NotJudged => "not judged",
            _ => class,
        };
        let _ = write!(
            page,
            "<li class=\"{class}\"><b>{word}</b> {}: {}",
            escaped(&finding.promised),
            escaped(&finding.happened)
        );
        if let Some(reason) = &finding.reason {
            let _ = write!(
                page,
                "<p><b>Probably:</b> {}.<br><b>Way out:</b> {}.</p>",
                escaped(&reason.why),
                escaped(&reason.way_out)
            );
        }
        page.push_str("</li>\n");
    }
    page.push_str("</ul>\n");
}

fn records(page: &mut String, run: &JudgedRun) {
    page.push_str("<ol class=\"records\">\n");
    for fact in run
        .history
        .facts
        .iter()
        .filter(|fact| !fact.text.is_empty())
    {
        let _ = writeln!(
            page,
            "<li><time>{}</time> <span>{}</span></li>",
            Shown(fact.at()),
            escaped(&fact.text)
        );
    }
    page.push_str("</ol>\n");
    if !run.history.output.is_empty() {
        let _ = writeln!(
            page,
            "<p class=\"last\">The last lines that it wrote:</p>\n<pre>{}</pre>",
            escaped(&run.history.output.join("\n"))
        );
    }
}

/// Text that is no markup, whatever it holds; control characters have no place in HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_cannot_become_markup() {
        assert_eq!(
            escaped("<b a=\"&\">\u{7}"),
            "&lt;b a=&quot;&amp;&quot;&gt;\u{fffd}"
        );
    }
}
