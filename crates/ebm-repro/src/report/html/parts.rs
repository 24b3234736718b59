//! The sections of a report: gates, seeds, measurements, events, machine, configuration.

use serde_json::Value;

use super::text::{escape, looks_numeric};
use crate::gate::Scope;
use crate::report::number::{bytes, duration, maybe, number};
use crate::report::schema::{GateResult, ReportFile};

/// The gate table.
pub fn gates(report: &ReportFile) -> String {
    if report.gates.is_empty() {
        return "<h2>Gates</h2>\n<p>This preset makes no claim that is gated.</p>\n".into();
    }
    let mut html = String::from(
        "<h2>Gates</h2>\n<div class=\"card scroll gates\"><table>\n<tr><th>claim</th><th class=\"n\">value</th>\
         <th class=\"n\">interval</th><th class=\"n\">needed</th><th>control</th><th>judged per</th><th>outcome</th></tr>\n",
    );
    for gate in &report.gates {
        html += &format!(
            "<tr><td><b>{}</b><div class=\"claim\">{}</div></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{} {}</td><td class=\"key\">{}</td><td>{}</td><td>{}</td></tr>\n",
            escape(&gate.name),
            escape(&gate.claim),
            maybe(gate.value),
            interval(gate),
            escape(gate.op.symbol()),
            gate.threshold.map_or_else(|| "?".into(), number),
            escape(gate.control.as_deref().unwrap_or("")),
            match gate.scope {
                Scope::Run => "run",
                Scope::Seeds => "seeds",
            },
            outcome(gate.pass)
        );
    }
    html + "</table></div>\n"
}

fn interval(gate: &GateResult) -> String {
    gate.ci.map_or_else(String::new, |[low, high]| {
        format!(
            "{} to {}<div class=\"claim\">{}%</div>",
            number(low),
            number(high),
            number(100.0 * gate.ci_level)
        )
    })
}

fn outcome(pass: Option<bool>) -> &'static str {
    match pass {
        Some(true) => "<span class=\"mark good\">held</span>",
        Some(false) => "<span class=\"mark bad\">not held</span>",
        None => "<span class=\"mark\">not judged</span>",
    }
}

/// One row per seed of a combined report, with what each gate reached.
pub fn seeds(report: &ReportFile, runs: &[ReportFile]) -> String {
    if runs.is_empty() {
        return String::new();
    }
    let mut html =
        String::from("<h2>Seeds</h2>\n<div class=\"card scroll\"><table>\n<tr><th>seed</th><th>status</th>");
    for gate in &report.gates {
        html += &format!("<th class=\"n\">{}</th>", escape(&gate.name));
    }
    html += "<th class=\"n\">time</th></tr>\n";
    for run in runs {
        html += &format!(
            "<tr><td><a href=\"seed-{0}/report.html\">seed {0}</a></td><td>{1}</td>",
            run.seed,
            run.status.word()
        );
        for gate in &report.gates {
            let own = run.gates.iter().find(|g| g.name == gate.name);
            html += &format!("<td class=\"n\">{}</td>", maybe(own.and_then(|g| g.value)));
        }
        html += &format!("<td class=\"n\">{}</td></tr>\n", duration(run.wall_s));
    }
    html + "</table></div>\n"
}

/// Metrics and controls side by side.
pub fn measurements(report: &ReportFile) -> String {
    let mut cards = Vec::new();
    let table = |title: &str, metrics: &std::collections::BTreeMap<String, Option<f64>>| {
        let rows: Vec<String> = metrics
            .iter()
            .map(|(k, v)| format!("<tr><td>{}</td><td class=\"n\">{}</td></tr>", escape(k), maybe(*v)))
            .collect();
        let rows = rows.join("\n");
        format!("<div class=\"card scroll\"><h3>{}</h3>\n<table>\n{rows}\n</table></div>\n", escape(title))
    };
    if !report.metrics.is_empty() {
        cards.push(table("Model", &report.metrics));
    }
    cards.extend(report.controls.iter().map(|c| table(&format!("Control: {}", c.name), &c.metrics)));
    if cards.is_empty() {
        return String::new();
    }
    let note = if report.seeds.len() > 1 { " (means over seeds)" } else { "" };
    format!("<h2>Measurements{note}</h2>\n<div class=\"columns\">\n{}</div>\n", cards.concat())
}

/// What happened on the way.
pub fn events(report: &ReportFile) -> String {
    if report.events.is_empty() {
        return String::new();
    }
    let several = report.seeds.len() > 1;
    let mut html = String::from("<h2>Events</h2>\n<div class=\"card scroll narrow\"><table>\n<tr>");
    html += if several { "<th>seed</th>" } else { "" };
    html += "<th class=\"n\">step</th><th>kind</th><th>detail</th></tr>\n";
    for event in &report.events {
        html += "<tr>";
        if several {
            html += &format!("<td>{}</td>", event.seed.map_or_else(String::new, |s| s.to_string()));
        }
        html += &format!(
            "<td class=\"n\">{}</td><td>{}</td><td>{}</td></tr>\n",
            event.step,
            escape(&event.kind),
            escape(&event.detail)
        );
    }
    html + "</table></div>\n"
}

/// Where and how long it ran.
pub fn machine(report: &ReportFile) -> String {
    let v = &report.versions;
    let rows = [
        ("time", duration(report.wall_s)),
        ("peak memory", bytes(report.peak_rss_bytes)),
        ("device", report.device.clone()),
        ("threads", report.threads.to_string()),
        ("processor", report.cpu.clone()),
        ("ebm", format!("{} (commit {})", v.ebm, v.git)),
        ("LibTorch", v.libtorch.clone()),
        ("rustc", v.rustc.clone()),
        ("preset sha256", report.preset_sha256.clone()),
    ];
    let rows: Vec<String> = rows
        .iter()
        .map(|(k, v)| format!("<tr><td class=\"key\">{k}</td><td>{}</td></tr>\n", escape(v)))
        .collect();
    format!("<h2>Run</h2>\n<div class=\"card scroll narrow\"><table>\n{}</table></div>\n", rows.concat())
}

/// The configuration, one row per key; keys that `--set` changed are marked.
pub fn config(report: &ReportFile) -> String {
    let mut rows = Vec::new();
    flatten(&report.config, String::new(), &mut rows);
    let mut html = String::from(
        "<details open><summary>Configuration</summary>\n<div class=\"card scroll narrow\"><table>\n",
    );
    for (key, value) in rows.iter().filter(|(key, _)| !key.starts_with("experiment.")) {
        let mark =
            if report.overrides.contains_key(key) { " <span class=\"mark bad\">set</span>" } else { "" };
        html += &format!(
            "<tr><td class=\"key\"><code>{}</code>{mark}</td><td><code>{}</code></td></tr>\n",
            escape(key),
            escape(value)
        );
    }
    html + "</table></div></details>\n"
}

fn flatten(value: &Value, path: String, rows: &mut Vec<(String, String)>) {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| flatten(inner, join(key), rows)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (i, item) in items.iter().enumerate() {
                let name = item["name"].as_str().map_or_else(|| i.to_string(), str::to_owned);
                flatten(item, join(&name), rows);
            }
        }
        Value::String(text) => rows.push((path, text.clone())),
        leaf => rows.push((path, leaf.to_string())),
    }
}

/// A table that an experiment handed in.
pub fn text_table(title: &str, header: &[String], rows: &[Vec<String>]) -> String {
    let cell = |tag: &str, text: &String, right: bool| {
        let class = if right { " class=\"n\"" } else { "" };
        // A cell that begins with a cross is trouble.
        let text = if text.starts_with('✗') {
            format!("<span class=\"mark bad\">{}</span>", escape(text))
        } else {
            escape(text)
        };
        format!("<{tag}{class}>{text}</{tag}>")
    };
    // A column whose cells all read as numbers stands to the right, its title too.
    let is_right = |i: usize| {
        let cells: Vec<&String> = rows.iter().filter_map(|r| r.get(i)).filter(|c| !c.is_empty()).collect();
        !cells.is_empty() && cells.iter().all(|c| looks_numeric(c))
    };
    let line = |tag: &str, cells: &[String]| {
        let cells: Vec<String> = cells.iter().enumerate().map(|(i, c)| cell(tag, c, is_right(i))).collect();
        format!("<tr>{}</tr>\n", cells.concat())
    };
    let lines: String = rows.iter().map(|row| line("td", row)).collect();
    format!(
        "<div class=\"card scroll narrow\" style=\"margin:12px 0\"><h3>{}</h3>\n<table>\n{}{lines}</table></div>\n",
        escape(title),
        line("th", header)
    )
}
