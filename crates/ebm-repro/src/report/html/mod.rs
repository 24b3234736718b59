//! `report.html`: one file that holds everything, with no script and no link to the outside.

mod parts;
mod text;

use super::Item;
use super::schema::ReportFile;
use crate::experiment::Status;
use crate::preset::ExperimentInfo;
use text::escape;

/// Renders a report: `items` for the pictures of one run, `runs` for the seeds that a combined report is about.
pub fn render(report: &ReportFile, items: &[Item], info: &ExperimentInfo, runs: &[ReportFile]) -> String {
    let mut html = String::new();
    html += "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    html += &format!("<title>{} ({})</title>\n", escape(&report.experiment), escape(&report.preset));
    html += &format!("<style>\n{}</style>\n</head>\n<body>\n<main>\n", include_str!("style.css"));
    html += &head(report, info);
    html += &parts::gates(report);
    html += &parts::seeds(report, runs);
    html += &body(items);
    html += &parts::measurements(report);
    html += &parts::events(report);
    html += &parts::machine(report);
    html += &parts::config(report);
    html + "</main>\n</body>\n</html>\n"
}

fn head(report: &ReportFile, info: &ExperimentInfo) -> String {
    let seeds: Vec<String> = report.seeds.iter().map(u64::to_string).collect();
    let plural = if seeds.len() == 1 { "seed" } else { "seeds" };
    let mut html = format!(
        "<h1>{}</h1>\n<div class=\"meta\">{}<br><code>{}</code>, {} preset, {plural} {}</div>\n",
        escape(&info.title),
        escape(&info.paper),
        escape(&report.experiment),
        escape(&report.preset),
        seeds.join(", ")
    );
    let tone = match report.status {
        Status::Diverged => "bad",
        Status::Complete if report.n_failed() > 0 => "bad",
        Status::Complete if report.n_judged() > 0 => "good",
        _ => "",
    };
    html += &format!("<div class=\"banner {tone}\" role=\"status\">{}</div>\n", escape(&report.verdict()));
    if report.is_modified() {
        let set: Vec<String> = report
            .overrides
            .iter()
            .map(|(k, v)| format!("<code>{}={}</code>", escape(k), escape(v)))
            .collect();
        html += &format!("<div class=\"warning\"><b>modified preset</b> {}</div>\n", set.join(" "));
    }
    if !info.unverified.is_empty() {
        let keys: Vec<String> =
            info.unverified.iter().map(|k| format!("<code>{}</code>", escape(k))).collect();
        html += &format!(
            "<div class=\"warning\"><b>unverified</b> (recalled, not checked against the paper) {}</div>\n",
            keys.join("; ")
        );
    }
    html
}

/// Pictures stand side by side where there is room; headings, tables and notes take the whole width.
fn body(items: &[Item]) -> String {
    let mut html = String::new();
    let mut in_grid = false;
    if items.first().is_some_and(|i| !matches!(i, Item::Heading(_))) {
        html += "<h2>Results</h2>\n";
    }
    for item in items {
        let is_picture = matches!(item, Item::Figure { .. } | Item::Image { .. });
        if is_picture != in_grid {
            html += if is_picture { "<div class=\"figures\">\n" } else { "</div>\n" };
            in_grid = is_picture;
        }
        html += &match item {
            Item::Heading(text) => format!("<h2>{}</h2>\n", escape(text)),
            Item::Note(text) => format!("<p>{}</p>\n", escape(text)),
            Item::Figure { title, caption, svg, .. } => picture(title, caption, svg),
            Item::Image { title, caption, png, .. } => {
                let data = ebm_metrics::plots::base64(png);
                let alt = escape(title);
                picture(title, caption, &format!("<img alt=\"{alt}\" src=\"data:image/png;base64,{data}\">"))
            }
            Item::Table { title, header, rows } => parts::text_table(title, header, rows),
        };
    }
    if in_grid {
        html += "</div>\n";
    }
    html
}

fn picture(title: &str, caption: &str, content: &str) -> String {
    format!(
        "<figure class=\"card\"><h3>{}</h3>\n{content}\n<figcaption>{}</figcaption></figure>\n",
        escape(title),
        escape(caption)
    )
}
