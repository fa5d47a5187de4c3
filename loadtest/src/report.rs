//! What a run prints: a table for people, a line of JSON for machines, a live line on a terminal.

use std::io::{IsTerminal, Write};

use serde_json::{Map, Value, json};

/// The result of a run, in the order it is shown.
#[derive(Debug)]
pub(crate) struct Report {
    scenario: &'static str,
    rows: Vec<Row>,
    warnings: Vec<String>,
}

#[derive(Debug)]
struct Row {
    key: &'static str,
    label: String,
    value: Value,
    unit: &'static str,
}

impl Report {
    pub(crate) fn new(scenario: &'static str) -> Self {
        Self {
            scenario,
            rows: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Adds a figure: its key for machines, its label and unit for people.
    pub(crate) fn add(
        &mut self,
        key: &'static str,
        label: impl Into<String>,
        value: impl Into<Value>,
        unit: &'static str,
    ) {
        self.rows.push(Row {
            key,
            label: label.into(),
            value: value.into(),
            unit,
        });
    }

    /// Adds a figure rounded to `decimals`.
    pub(crate) fn add_rounded(
        &mut self,
        key: &'static str,
        label: impl Into<String>,
        (value, decimals): (f64, i32),
        unit: &'static str,
    ) {
        let scale = 10f64.powi(decimals);
        self.add(key, label, (value * scale).round() / scale, unit);
    }

    /// A figure that was added before.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.key == key)?;
        row.value.as_f64()
    }

    /// Says what makes the figures doubtful.
    pub(crate) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// The line for machines.
    fn to_json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("scenario".to_owned(), json!(self.scenario));
        for row in &self.rows {
            fields.insert(row.key.to_owned(), row.value.clone());
        }
        fields.insert("warnings".to_owned(), json!(self.warnings));
        Value::Object(fields)
    }

    /// The table for people.
    fn to_table(&self) -> String {
        let label_width = self.rows.iter().map(|row| row.label.chars().count()).max();
        let label_width = label_width.unwrap_or(0);
        let mut table = format!("{}\n", self.scenario);
        for row in &self.rows {
            let value = for_people(&row.value);
            let padding = " ".repeat(label_width - row.label.chars().count());
            table.push_str(&format!(
                "  {}{padding}  {value:>14} {}\n",
                row.label, row.unit
            ));
        }
        for warning in &self.warnings {
            table.push_str(&format!("  ! {warning}\n"));
        }
        table
    }

    /// Writes the report to standard output.
    pub(crate) fn print(&self, as_json: bool) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if as_json {
            writeln!(out, "{}", self.to_json())
        } else {
            write!(out, "{}", self.to_table())
        }
    }
}

/// Whole numbers with their thousands apart.
fn for_people(value: &Value) -> String {
    let Some(number) = value.as_f64() else {
        return value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
    };
    let text = value.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    if number.abs() < 1_000.0 {
        return text;
    }
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction {
        "" | "0" => grouped,
        fraction => format!("{grouped}.{fraction}"),
    }
}

/// A line on the terminal that is overwritten as the run goes on; nothing anywhere else.
#[derive(Debug)]
pub(crate) struct Progress {
    is_terminal: bool,
    is_shown: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            is_terminal: std::io::stderr().is_terminal(),
            is_shown: false,
        }
    }

    pub(crate) fn show(&mut self, line: &str) {
        if self.is_terminal {
            self.is_shown = true;
            // A terminal that went away takes nothing from the figures.
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }

    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_a_table_and_machines_a_line() {
        let mut report = Report::new("fanout");
        report.add("deliveries_per_s", "deliveries", 1_234_567, "/s");
        report.add_rounded("p99_ms", "p99", (1.23456, 2), "ms");
        report.warn("busy");
        let table = report.to_table();
        assert!(table.contains("deliveries       1,234,567 /s"), "{table}");
        assert!(table.contains("! busy"));
        assert_eq!(
            report.to_json().to_string(),
            r#"{"deliveries_per_s":1234567,"p99_ms":1.23,"scenario":"fanout","warnings":["busy"]}"#
        );
    }

    #[test]
    fn numbers_are_grouped() {
        for (value, text) in [
            (json!(999), "999"),
            (json!(1000), "1,000"),
            (json!(123456), "123,456"),
            (json!(12345.5), "12,345.5"),
            (json!("x"), "x"),
        ] {
            assert_eq!(for_people(&value), text);
        }
    }
}
