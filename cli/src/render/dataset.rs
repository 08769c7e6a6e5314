//! Owns the text of datasets and models, and the progress of reading a folder.

use std::sync::Mutex;

use synapse_backend::{Added, Dataset, Model, Outcome, Progress};

use super::{
    BOLD, DIM, GOOD, Printer, WARN,
    board::{self, Busy},
    count, moment, paint, size,
};

/// How far the reading of a folder is.
pub struct Bar(Mutex<Option<Busy>>);

impl Bar {
    /// Nothing is read yet.
    pub fn new() -> Self {
        Self(Mutex::new(Some(board::busy("listing the files"))))
    }

    /// Shows how far it is. Called from many threads, it skips when another is at it.
    pub fn show(&self, step: Progress) {
        let Ok(bar) = self.0.try_lock() else { return };
        if let Some(busy) = bar.as_ref() {
            let text = format!(
                "reading {} of {} files, {} of {}",
                step.files,
                step.total_files,
                size(step.bytes),
                size(step.total_bytes)
            );
            let part = u128::from(step.bytes) * 1000 / u128::from(step.total_bytes.max(1));
            busy.set_part(text, part as u64);
        }
    }

    /// Takes it away.
    pub fn finish(&self) {
        if let Ok(mut bar) = self.0.lock() {
            *bar = None;
        }
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}

/// What came of adding a dataset.
pub fn added(printer: &mut Printer, added: &Added, outcome: &str) {
    let dataset = &added.dataset;
    let style = match added.outcome {
        Outcome::UpToDate => DIM,
        _ => GOOD,
    };
    let what = outcome.replace('_', " ");
    printer.line(format!(
        "{} dataset {} {}: {}, {}",
        paint(style, what),
        dataset.id,
        paint(BOLD, &dataset.name),
        count(dataset.count, "file"),
        size(dataset.size)
    ));
    if added.outcome == Outcome::UpToDate {
        return;
    }
    let format = dataset
        .format
        .as_ref()
        .map(|format| format!("format {format}"));
    let splits = (!dataset.splits.is_empty()).then(|| format!("splits {}", splits(dataset)));
    let found: Vec<String> = format
        .filter(|_| added.format_found)
        .into_iter()
        .chain(splits.filter(|_| added.splits_found))
        .collect();
    if !found.is_empty() {
        let text = format!(
            "found by its layout: {}; --format and --split say otherwise",
            found.join(", ")
        );
        printer.line(paint(DIM, text));
    }
    if dataset.format.is_none() {
        let text = "its layout tells no format; --format names it";
        printer.line(paint(WARN, text));
    }
}

/// All datasets.
pub fn list(printer: &mut Printer, all: &[Dataset]) {
    if all.is_empty() {
        printer.line("no datasets; synapse dataset add DIR --name NAME adds one");
    }
    let rows = all.iter().map(|dataset| {
        let gone = if dataset.folder.is_dir() {
            ""
        } else {
            "  (the folder is gone)"
        };
        [
            dataset.id.to_string(),
            dataset.name.clone(),
            format_of(dataset).to_owned(),
            count(dataset.count, "file"),
            size(dataset.size),
            format!("{}{gone}", dataset.folder.display()),
        ]
    });
    table(printer, &rows.collect::<Vec<_>>());
}

/// One dataset.
pub fn show(printer: &mut Printer, dataset: &Dataset) {
    printer.line(format!(
        "dataset {}  {}",
        dataset.id,
        paint(BOLD, &dataset.name)
    ));
    printer.line(format!("  folder    {}", dataset.folder.display()));
    if !dataset.folder.is_dir() {
        printer.line(paint(WARN, "            it is gone"));
    }
    printer.line(format!("  format    {}", format_of(dataset)));
    let files = count(dataset.count, "file");
    printer.line(format!("  files     {files}, {}", size(dataset.size)));
    if !dataset.splits.is_empty() {
        printer.line(format!("  splits    {}", splits(dataset)));
    }
    printer.line(format!("  checksum  {}", dataset.checksum));
    printer.line(format!("  added     {}", moment(dataset.created)));
}

fn format_of(dataset: &Dataset) -> &str {
    dataset.format.as_deref().unwrap_or("not known")
}

fn splits(dataset: &Dataset) -> String {
    let splits = dataset.splits.iter();
    let splits: Vec<String> = splits
        .map(|(name, count)| format!("{name} ({count})"))
        .collect();
    splits.join(", ")
}

/// All models.
pub fn models(printer: &mut Printer, all: &[Model]) {
    if all.is_empty() {
        printer.line("no models; runs that train make them");
    }
    let rows = all.iter().map(|model| {
        [
            model.id.to_string(),
            model.name.clone(),
            made_by(model).unwrap_or_else(|| "-".to_owned()),
            model.category.clone(),
            size(model.size),
            moment(model.created),
        ]
    });
    table(printer, &rows.collect::<Vec<_>>());
}

/// One model. `file` is where its file lies.
pub fn model(printer: &mut Printer, model: &Model, file: &str) {
    printer.line(format!("model {}  {}", model.id, paint(BOLD, &model.name)));
    if let Some(made) = made_by(model) {
        printer.line(format!("  plugin    {made}"));
    }
    printer.line(format!("  category  {}", model.category));
    printer.line(format!(
        "  file      {}, {}",
        model.filename,
        size(model.size)
    ));
    printer.line(format!("  kept as   {file}"));
    printer.line(format!("  sha256    {}", model.sha256));
    printer.line(format!("  created   {}", moment(model.created)));
    let known = ["name", "plugin", "version", "category"];
    let more = model.fields.iter();
    for (name, value) in
        more.filter(|(name, value)| !known.contains(&name.as_str()) && !value.is_null())
    {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        printer.line(format!("  {name:<9} {value}"));
    }
}

fn made_by(model: &Model) -> Option<String> {
    let version = model.version.as_ref().map(|version| format!(" {version}"));
    let plugin = model.plugin.as_ref()?;
    Some(format!("{plugin}{}", version.unwrap_or_default()))
}

/// Rows in columns, each as wide as its widest.
pub fn table<const N: usize>(printer: &mut Printer, rows: &[[String; N]]) {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(2 + width - cell.chars().count()));
        }
        printer.line(line.trim_end());
    }
}
