//! Typed access to a preset's tables, and the preset as JSON.

use serde::de::DeserializeOwned;
use serde_json::json;
use toml::{Table, Value};

use super::Preset;
use crate::usage::Usage;

impl Preset {
    /// One table as a type, for instance `preset.section::<ModelConfig>("model")`. A missing table counts as
    /// empty. The type should say `deny_unknown_fields`.
    ///
    /// # Errors
    /// A missing or unknown key, or a wrong type; the text names file, key and what was expected.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, Usage> {
        deserialize(&self.file(), name, self.table.get(name)).map_err(|e| self.blame_override(e, name))
    }

    /// A list of tables as types: `preset.list::<ControlConfig>("controls")`. A missing list is empty.
    ///
    /// # Errors
    /// As [`Preset::section`].
    pub fn list<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, Usage> {
        deserialize_list(&self.file(), name, self.table.get(name)).map_err(|e| self.blame_override(e, name))
    }

    /// The preset as it stands, without gates and `[smoke]`: the report's `config`.
    pub fn config_json(&self) -> serde_json::Value {
        let kept = self.table.iter().filter(|(key, _)| !matches!(key.as_str(), "gates" | "smoke"));
        serde_json::Value::Object(kept.map(|(key, value)| (key.clone(), to_json(value))).collect())
    }

    /// Everything that makes a run what it is: [`Preset::config_json`] and the gates.
    pub fn identity_json(&self) -> serde_json::Value {
        let mut all = self.config_json();
        all["gates"] = self.table.get("gates").map_or_else(|| json!([]), to_json);
        all
    }

    /// The file may be right and the command line wrong: say so.
    fn blame_override(&self, error: Usage, section: &str) -> Usage {
        let prefix = format!("{section}.");
        let set: Vec<String> = (self.overrides.iter())
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(key, value)| format!("--set {key}={value}"))
            .collect();
        if set.is_empty() { error } else { Usage(format!("{error} (changed by {})", set.join(" "))) }
    }
}

pub(super) fn deserialize<T: DeserializeOwned>(
    file: &str,
    name: &str,
    value: Option<&Value>,
) -> Result<T, Usage> {
    let value = value.cloned().unwrap_or_else(|| Value::Table(Table::new()));
    value.try_into().map_err(|e: toml::de::Error| Usage(format!("preset {file}, [{name}]: {}", one_line(&e))))
}

pub(super) fn deserialize_list<T: DeserializeOwned>(
    file: &str,
    name: &str,
    value: Option<&Value>,
) -> Result<Vec<T>, Usage> {
    let items = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let item = |value: &Value| {
        let called = value.get("name").and_then(Value::as_str).unwrap_or("without a name");
        value.clone().try_into().map_err(|e: toml::de::Error| {
            Usage(format!("preset {file}, [[{name}]] {called}: {}", one_line(&e)))
        })
    };
    items.iter().map(item).collect()
}

/// "`step_size`: invalid type: string, expected f64" out of the parser's two lines.
fn one_line(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let key = text.lines().find_map(|l| l.strip_prefix("in `")?.strip_suffix('`'));
    let message = error.message().replace('\n', " ");
    key.map_or_else(|| message.clone(), |key| format!("`{key}`: {message}"))
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::String(s) => json!(s),
        Value::Integer(i) => json!(i),
        // JSON has no word for these, and `null` would make one of all three.
        Value::Float(f) if !f.is_finite() => json!(f.to_string()),
        Value::Float(f) => json!(f),
        Value::Boolean(b) => json!(b),
        Value::Datetime(d) => json!(d.to_string()),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Table(table) => {
            serde_json::Value::Object(table.iter().map(|(k, v)| (k.clone(), to_json(v))).collect())
        }
    }
}
