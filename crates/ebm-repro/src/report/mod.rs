//! The report of a run: what an experiment hands in, and the files that come out.

mod combine;
mod files;
mod html;
pub(crate) mod number;
mod schema;
mod summary;

pub use combine::combine;
pub use files::{write_combined, write_run};
pub use html::render;
pub(crate) use number::{duration, number};
pub use schema::{Control, Event, GateResult, ReportFile, SCHEMA, Versions};
pub use summary::Summary;

use std::collections::BTreeMap;

use anyhow::bail;

use crate::experiment::Status;
use crate::gate::{GateSpec, Scope};
use schema::finite;

/// Something shown in `report.html`, in the order in which it was handed in.
#[derive(Clone, Debug)]
pub enum Item {
    /// A heading above what follows.
    Heading(String),
    /// A plot, written to `plots/<id>.svg` too.
    Figure {
        /// File name without ending.
        id: String,
        /// Above the plot.
        title: String,
        /// Below the plot.
        caption: String,
        /// The SVG document.
        svg: String,
    },
    /// A picture, written to `plots/<id>.png` too.
    Image {
        /// File name without ending.
        id: String,
        /// Above the picture.
        title: String,
        /// Below the picture.
        caption: String,
        /// The PNG file.
        png: Vec<u8>,
    },
    /// A table of texts.
    Table {
        /// Above the table.
        title: String,
        /// Column names.
        header: Vec<String>,
        /// Cells.
        rows: Vec<Vec<String>>,
    },
    /// A paragraph.
    Note(String),
}

struct Judged {
    value: Option<f64>,
    ci: Option<[f64; 2]>,
    threshold: Option<f64>,
}

/// What an experiment fills while it runs.
pub struct Report {
    gates: Vec<GateSpec>,
    judged: Vec<Option<Judged>>,
    controls: Vec<Control>,
    metrics: BTreeMap<String, Option<f64>>,
    events: Vec<Event>,
    items: Vec<Item>,
}

/// The judged part of a report, ready for the file.
pub struct Findings {
    /// The gates, in the preset's order.
    pub gates: Vec<GateResult>,
    /// What the controls reached.
    pub controls: Vec<Control>,
    /// Everything measured.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// What happened on the way.
    pub events: Vec<Event>,
    /// What is shown.
    pub items: Vec<Item>,
}

impl Report {
    /// An empty report with the preset's gates.
    pub fn new(gates: &[GateSpec]) -> Self {
        Self {
            gates: gates.to_vec(),
            judged: gates.iter().map(|_| None).collect(),
            controls: Vec::new(),
            metrics: BTreeMap::new(),
            events: Vec::new(),
            items: Vec::new(),
        }
    }

    /// Records a measured number; one that is not finite becomes null.
    pub fn metric(&mut self, name: &str, value: f64) {
        self.metrics.insert(name.to_owned(), finite(value));
    }

    /// Records what a control reached; called again for the same control it adds to it.
    pub fn control(&mut self, name: &str, metrics: &[(&str, f64)]) {
        let at = self.controls.iter().position(|c| c.name == name).unwrap_or_else(|| {
            self.controls.push(Control { name: name.to_owned(), metrics: BTreeMap::new() });
            self.controls.len() - 1
        });
        self.controls[at].metrics.extend(metrics.iter().map(|(n, v)| ((*n).to_owned(), finite(*v))));
    }

    /// Records something that happened at a step, for instance `rollback`.
    pub fn event(&mut self, step: u64, kind: &str, detail: &str) {
        self.events.push(Event { step, kind: kind.to_owned(), detail: detail.to_owned(), seed: None });
    }

    /// Whether the preset has a gate of this name.
    pub fn has_gate(&self, gate: &str) -> bool {
        self.gates.iter().any(|g| g.name == gate)
    }

    /// How often this kind of event was recorded.
    pub fn n_events(&self, kind: &str) -> usize {
        self.events.iter().filter(|e| e.kind == kind).count()
    }

    /// Hands in the value of a gate with a fixed threshold.
    ///
    /// # Errors
    /// The preset has no such gate, its threshold is relative to a control, or it was judged before.
    pub fn judge(&mut self, gate: &str, value: f64, ci: Option<(f64, f64)>) -> anyhow::Result<()> {
        let i = self.open_gate(gate)?;
        if self.gates[i].is_relative() {
            bail!("gate `{gate}` is relative to a control: hand in the control's value with judge_against");
        }
        self.record(i, value, ci, self.gates[i].threshold.unwrap_or(f64::NAN));
        Ok(())
    }

    /// Hands in the value of a gate whose threshold is relative to what its control reached in this run:
    /// threshold = `control_value` x factor + margin, with the preset's factor and margin.
    ///
    /// # Errors
    /// The preset has no such gate, its threshold is fixed, or it was judged before.
    pub fn judge_against(
        &mut self,
        gate: &str,
        value: f64,
        ci: Option<(f64, f64)>,
        control_value: f64,
    ) -> anyhow::Result<()> {
        let i = self.open_gate(gate)?;
        if !self.gates[i].is_relative() {
            bail!("gate `{gate}` has a fixed threshold: use judge");
        }
        self.record(i, value, ci, self.gates[i].threshold_for(control_value));
        Ok(())
    }

    fn open_gate(&self, gate: &str) -> anyhow::Result<usize> {
        let Some(i) = self.gates.iter().position(|g| g.name == gate) else {
            let known: Vec<&str> = self.gates.iter().map(|g| g.name.as_str()).collect();
            bail!("the preset has no gate `{gate}`; it has {}", known.join(", "));
        };
        if self.judged[i].is_some() {
            bail!("gate `{gate}` was judged twice");
        }
        Ok(i)
    }

    fn record(&mut self, i: usize, value: f64, ci: Option<(f64, f64)>, threshold: f64) {
        let ci = ci.filter(|(low, high)| low.is_finite() && high.is_finite()).map(|(low, high)| [low, high]);
        self.judged[i] = Some(Judged { value: finite(value), ci, threshold: finite(threshold) });
    }

    /// A heading in `report.html`.
    pub fn heading(&mut self, text: &str) {
        self.items.push(Item::Heading(text.to_owned()));
    }

    /// A plot from [`crate::plots`]; also written to `plots/<id>.svg`.
    pub fn figure_svg(&mut self, id: &str, title: &str, caption: &str, svg: String) {
        self.items.push(Item::Figure {
            id: file_stem(id),
            title: title.to_owned(),
            caption: caption.to_owned(),
            svg,
        });
    }

    /// A PNG picture; also written to `plots/<id>.png`.
    pub fn image_png(&mut self, id: &str, title: &str, caption: &str, png: Vec<u8>) {
        self.items.push(Item::Image {
            id: file_stem(id),
            title: title.to_owned(),
            caption: caption.to_owned(),
            png,
        });
    }

    /// A table of texts.
    pub fn table(&mut self, title: &str, header: &[&str], rows: Vec<Vec<String>>) {
        let header = header.iter().map(|h| (*h).to_owned()).collect();
        self.items.push(Item::Table { title: title.to_owned(), header, rows });
    }

    /// A paragraph.
    pub fn note(&mut self, text: &str) {
        self.items.push(Item::Note(text.to_owned()));
    }

    /// Judges the gates for a run of one seed that ended like this.
    pub fn finish(self, status: Status) -> Findings {
        let gates = self.gates.iter().zip(self.judged).map(|(spec, judged)| result(spec, judged, status));
        Findings {
            gates: gates.collect(),
            controls: self.controls,
            metrics: self.metrics,
            events: self.events,
            items: self.items,
        }
    }
}

fn result(spec: &GateSpec, judged: Option<Judged>, status: Status) -> GateResult {
    let was_judged = judged.is_some();
    let judged = judged.unwrap_or(Judged { value: None, ci: None, threshold: spec.threshold });
    let holds = match (judged.value, judged.threshold) {
        (Some(value), Some(threshold)) => spec.op.holds(value, threshold),
        _ => false,
    };
    let pass = match status {
        Status::Diverged => Some(false),
        Status::Complete if was_judged && spec.scope == Scope::Run => Some(holds),
        _ => None,
    };
    GateResult {
        name: spec.name.clone(),
        claim: spec.claim.clone(),
        value: judged.value,
        ci: judged.ci,
        ci_level: spec.ci_level,
        op: spec.op,
        threshold: judged.threshold,
        scope: spec.scope,
        pass,
        control: spec.control.clone(),
    }
}

/// An id as a plain file name.
fn file_stem(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests;
