//! `--set table.key=value` and the `[smoke]` table: changes to keys that exist.

use toml::{Table, Value};

use super::{Preset, nearest, nesting};
use crate::usage::Usage;

impl Preset {
    /// Applies one `--set` argument; one that is refused changes nothing.
    ///
    /// # Errors
    /// No `=`, an unknown key (the nearest ones are listed), a gate, a value of another type, or a control that
    /// would be left without its name.
    pub fn set(&mut self, argument: &str) -> Result<(), Usage> {
        let Some((path, text)) = argument.split_once('=') else {
            return Err(Usage(format!("--set {argument}: write it as table.key=value")));
        };
        let path = path.trim();
        let top = path.split('.').next().unwrap_or_default();
        match top {
            "gates" => return Err(Usage(format!("--set {argument}: a gate is fixed in the preset"))),
            "smoke" => return Err(Usage(format!("--set {argument}: set the key itself, not [smoke]"))),
            _ => {}
        }
        let fault = |problem: String| Usage(format!("--set {argument}: {problem}"));
        let mut changed = self.clone();
        let slot = changed.slot(path).map_err(fault)?;
        *slot = replacement(slot, text.trim()).map_err(fault)?;
        changed.check_shape().map_err(fault)?;
        changed.overrides.insert(path.to_owned(), text.trim().to_owned());
        changed.refresh_info()?;
        *self = changed;
        Ok(())
    }

    /// Applies the `[smoke]` table: tiny sizes, so that a run takes seconds.
    ///
    /// # Errors
    /// It names a key that the preset does not have, or gives it another type.
    pub fn apply_smoke(&mut self) -> Result<(), Usage> {
        let Some(Value::Table(smoke)) = self.table.get("smoke").cloned() else { return Ok(()) };
        let mut leaves = Vec::new();
        flatten(&smoke, "", &mut leaves);
        for (path, value) in leaves {
            let file = self.file();
            let fault = |problem: String| Usage(format!("preset {file}, [smoke] {path}: {problem}"));
            if path.starts_with("gates") || path.starts_with("smoke") {
                return Err(fault("cannot be changed".into()));
            }
            let slot = self.slot(&path).map_err(fault)?;
            *slot = agree(slot, value).map_err(fault)?;
            self.check_shape().map_err(fault)?;
        }
        self.refresh_info()
    }

    fn refresh_info(&mut self) -> Result<(), Usage> {
        self.info = self.section("experiment")?;
        Ok(())
    }

    /// The place that a dotted path names. List entries are named by their `name`.
    fn slot(&mut self, path: &str) -> Result<&mut Value, String> {
        let Some((top, rest)) = path.split_once('.') else {
            return Err(format!("write it as table.key=value; the tables are {}", self.table_names()));
        };
        // The one key that every experiment with data has, whether its file spells it out or not.
        if path == "data.path"
            && let Value::Table(data) = self.table.entry("data").or_insert_with(|| Value::Table(Table::new()))
        {
            data.entry("path").or_insert_with(|| Value::String(String::new()));
        }
        if !exists(&self.table, path) {
            return Err(self.unknown(path));
        }
        let unknown = || format!("unknown key `{path}`");
        let mut at = self.table.get_mut(top).ok_or_else(unknown)?;
        for part in rest.split('.') {
            at = step_mut(at, part).ok_or_else(unknown)?;
        }
        Ok(at)
    }

    fn table_names(&self) -> String {
        let names = self.table.keys().filter(|k| !matches!(k.as_str(), "gates" | "smoke"));
        names.map(|k| format!("[{k}]")).collect::<Vec<_>>().join(" ")
    }

    fn unknown(&self, path: &str) -> String {
        let mut leaves = Vec::new();
        let shown = self.table.iter().filter(|(key, _)| !matches!(key.as_str(), "gates" | "smoke"));
        flatten(&shown.map(|(k, v)| (k.clone(), v.clone())).collect(), "", &mut leaves);
        let keys: Vec<String> = leaves.into_iter().map(|(key, _)| key).collect();
        let near = nearest::nearest(path, keys.iter().map(String::as_str));
        let top = path.split('.').next().unwrap_or_default();
        let mut text = format!("{} has no key `{path}`", self.file());
        if !near.is_empty() {
            text += &format!("; near are {}", near.join(", "));
        }
        let prefix = format!("{top}.");
        let here: Vec<&str> = keys.iter().filter_map(|key| key.strip_prefix(&prefix)).collect();
        if here.is_empty() {
            text + &format!("; the tables are {}", self.table_names())
        } else {
            text + &format!("; [{top}] has {}", here.join(", "))
        }
    }
}

fn step<'a>(value: &'a Value, part: &str) -> Option<&'a Value> {
    match value {
        Value::Table(table) => table.get(part),
        Value::Array(items) => items.iter().find(|i| i.get("name").and_then(Value::as_str) == Some(part)),
        _ => None,
    }
}

fn step_mut<'a>(value: &'a mut Value, part: &str) -> Option<&'a mut Value> {
    match value {
        Value::Table(table) => table.get_mut(part),
        Value::Array(items) => items.iter_mut().find(|i| i.get("name").and_then(Value::as_str) == Some(part)),
        _ => None,
    }
}

fn exists(table: &Table, path: &str) -> bool {
    let mut parts = path.split('.');
    let top = parts.next().and_then(|top| table.get(top));
    parts.try_fold(top, |at, part| at.map(|at| step(at, part))).flatten().is_some()
}

/// Every leaf with its dotted path; list entries go by their `name`.
fn flatten(table: &Table, prefix: &str, leaves: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => flatten(inner, &path, leaves),
            Value::Array(items) if items.iter().any(Value::is_table) => {
                for item in items.iter().filter_map(Value::as_table) {
                    let name = item.get("name").and_then(Value::as_str).unwrap_or("?");
                    flatten(item, &format!("{path}.{name}"), leaves);
                }
            }
            leaf => leaves.push((path, leaf.clone())),
        }
    }
}

/// The value that the text stands for, in the type of what it replaces.
fn replacement(old: &Value, text: &str) -> Result<Value, String> {
    let too_deep = nesting::too_deep_at(text).is_some();
    let parsed = if too_deep { None } else { text.parse::<Value>().ok() };
    match (old, parsed) {
        // A path or a name need not be quoted, and `--set data.path=12` is a name too.
        (Value::String(_), Some(Value::String(new))) => Ok(Value::String(new)),
        (Value::String(_), _) => Ok(Value::String(text.to_owned())),
        (old, Some(new)) => agree(old, new),
        (_, None) if too_deep => Err(nesting::problem()),
        (old, None) => Err(format!("expected {}, for instance {old}", type_name(old))),
    }
}

/// `new` in the type of `old`, when the two agree. A number and a table agree: a hyper-parameter is a constant
/// or a schedule; the experiment's own types have the last word.
fn agree(old: &Value, new: Value) -> Result<Value, String> {
    let is_number = |v: &Value| v.is_integer() || v.is_float();
    let value = match (old, new) {
        (Value::Float(_), Value::Integer(i)) => Value::Float(i as f64),
        (Value::Integer(_), Value::Float(f)) if f.fract() == 0.0 && f.abs() < 9e15 => {
            Value::Integer(f as i64)
        }
        (Value::Array(before), Value::Array(items)) if !before.is_empty() => {
            Value::Array(items.into_iter().map(|item| agree(&before[0], item)).collect::<Result<_, _>>()?)
        }
        (old, new)
            if old.same_type(&new)
                || (is_number(old) && (is_number(&new) || new.is_table()))
                || (old.is_table() && is_number(&new)) =>
        {
            new
        }
        (old, new) => {
            return Err(format!(
                "expected {}, for instance {old}, found {}",
                type_name(old),
                type_name(&new)
            ));
        }
    };
    if value.as_float().is_some_and(f64::is_nan) {
        return Err("must be a number, not nan".into());
    }
    Ok(value)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}
