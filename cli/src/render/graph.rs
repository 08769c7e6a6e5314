//! Owns the graph as text: a tree for people, graphviz's DOT, Mermaid, and the document for
//! programs. The picture is in `graph/svg.rs`.

mod svg;

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Value, json};

pub use self::svg::picture;
use super::{BAD, BOLD, DIM, GOOD, WARN, count, error::ErrorObject, paint};
use crate::drawing::{Drawing, Fate};

/// Plugins whose stages are all up to date are counted when there are more than this.
const FEW: usize = 12;
/// Names of them that are told.
const NAMES: usize = 5;

/// The tree: a plugin, its stages, what each waits for.
pub fn tree(drawing: &Drawing, verbose: bool) -> String {
    let members = drawing.members();
    let mut out = String::new();
    let idle = |group: &usize| {
        let mut nodes = members[*group].iter().map(|at| &drawing.nodes[*at]);
        nodes.all(|node| matches!(node.fate, Fate::Hit | Fate::NotNeeded))
    };
    let counted: Vec<usize> = (0..members.len()).filter(idle).collect();
    let counted = if verbose || counted.len() <= FEW {
        Vec::new()
    } else {
        counted
    };
    for (group, nodes) in members.iter().enumerate() {
        if counted.contains(&group) {
            continue;
        }
        let _ = writeln!(out, "{}", paint(BOLD, &drawing.groups[group].0));
        let stages = nodes.iter().map(|at| drawing.nodes[*at].label.stage.len());
        let wide = stages.max().unwrap_or(0).max(8);
        for at in nodes {
            let node = &drawing.nodes[*at];
            let style = match node.fate {
                Fate::Hit | Fate::Restore | Fate::NotNeeded => DIM,
                Fate::Run => GOOD,
                Fate::Unknown => WARN,
                Fate::Refused => BAD,
            };
            let mut line = format!(
                "  {:wide$}  {}",
                node.label.stage,
                paint(style, node.fate.words())
            );
            let why = node.why();
            if !why.is_empty() {
                let _ = write!(line, ": {why}");
            }
            let after = node.on.iter().map(|on| {
                let on = &drawing.nodes[*on];
                if on.group == group {
                    on.label.stage.clone()
                } else {
                    format!("{} of {}", on.label.stage, on.label.subject)
                }
            });
            let after: Vec<String> = after.collect();
            if !after.is_empty() {
                let after = paint(DIM, format!("after {}", after.join(", ")));
                let _ = write!(line, "  {after}");
            }
            let _ = writeln!(out, "{line}");
        }
    }
    if !counted.is_empty() {
        let names = counted.iter().take(NAMES);
        let names: Vec<&str> = names.map(|own| drawing.groups[*own].0.as_str()).collect();
        let _ = writeln!(
            out,
            "{} up to date: {}, ...",
            count(counted.len() as u64, "plugin"),
            names.join(", ")
        );
    }
    out
}

/// How many nodes came to what, in words.
pub fn sums(drawing: &Drawing) -> String {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for node in &drawing.nodes {
        *sums.entry(node.fate.words()).or_default() += 1;
    }
    let sums: Vec<String> = sums
        .into_iter()
        .map(|(words, sum)| format!("{sum} {words}"))
        .collect();
    sums.join(", ")
}

/// The name of a node's subject, and how many others it stands for.
fn subject(drawing: &Drawing, at: usize) -> String {
    let node = &drawing.nodes[at];
    match drawing.groups[node.group].1 {
        1 => node.label.subject.clone(),
        many => format!("{} and {} more", node.label.subject, many - 1),
    }
}

/// What a node's tooltip says.
fn tooltip(drawing: &Drawing, at: usize) -> String {
    let node = &drawing.nodes[at];
    let head = format!(
        "{} of {}: {}",
        node.label.stage,
        subject(drawing, at),
        node.fate.words()
    );
    match node.why() {
        why if why.is_empty() => head,
        why => format!("{head}: {why}"),
    }
}

/// The graph in graphviz's language.
pub fn dot(drawing: &Drawing) -> String {
    let quoted = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{}\"", text.replace(char::is_control, " "))
    };
    let mut out = "digraph synapse {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", \
                   fontname=\"sans-serif\"];\n"
        .to_owned();
    for (at, node) in drawing.nodes.iter().enumerate() {
        let (fill, line) = match node.fate {
            Fate::Hit | Fate::Restore => ("#eef1f4", "solid"),
            Fate::NotNeeded => ("#ffffff", "dotted"),
            Fate::Run => ("#bfe8c8", "bold"),
            Fate::Unknown => ("#fbe6b2", "dashed"),
            Fate::Refused => ("#f6c1c1", "bold"),
        };
        // Of two quoted strings the escape between them is a line's end.
        let label = [&node.label.stage, &subject(drawing, at)].map(|part| quoted(part));
        let label = format!("{}\\n{}", label[0].trim_end_matches('"'), &label[1][1..]);
        let _ = writeln!(
            out,
            "  n{at} [label={label}, tooltip={}, class={}, fillcolor={}, style={}];",
            quoted(&tooltip(drawing, at)),
            quoted(node.fate.name()),
            quoted(fill),
            quoted(&format!("rounded,filled,{line}")),
        );
    }
    for (at, node) in drawing.nodes.iter().enumerate() {
        for on in &node.on {
            let _ = writeln!(out, "  n{on} -> n{at};");
        }
    }
    out.push_str("}\n");
    out
}

/// The graph in Mermaid's language.
pub fn mermaid(drawing: &Drawing) -> String {
    // Nothing but letters and digits is certain to mean nothing to it.
    let plain = |text: &str| {
        let mut out = String::new();
        for c in text.chars() {
            if c.is_ascii_alphanumeric() || " -._/".contains(c) {
                out.push(c);
            } else if c.is_control() {
                out.push(' ');
            } else {
                let _ = write!(out, "#{};", c as u32);
            }
        }
        out
    };
    let mut out = "flowchart LR\n".to_owned();
    for (at, node) in drawing.nodes.iter().enumerate() {
        let (stage, subject) = (plain(&node.label.stage), plain(&subject(drawing, at)));
        let _ = writeln!(
            out,
            "  n{at}[\"{stage}<br/>{subject}\"]:::{}",
            node.fate.name()
        );
    }
    for (at, node) in drawing.nodes.iter().enumerate() {
        for on in &node.on {
            let _ = writeln!(out, "  n{on} --> n{at}");
        }
    }
    for (fate, style) in [
        (Fate::Hit, "fill:#eef1f4,stroke:#5b6470,color:#1b1f24"),
        (Fate::Restore, "fill:#eef1f4,stroke:#5b6470,color:#1b1f24"),
        (
            Fate::NotNeeded,
            "fill:#ffffff,stroke:#5b6470,color:#1b1f24,stroke-dasharray:2",
        ),
        (Fate::Run, "fill:#bfe8c8,stroke:#1b7a35,color:#1b1f24"),
        (
            Fate::Unknown,
            "fill:#fbe6b2,stroke:#8a6100,color:#1b1f24,stroke-dasharray:5",
        ),
        (Fate::Refused, "fill:#f6c1c1,stroke:#b3261e,color:#1b1f24"),
    ] {
        let _ = writeln!(out, "  classDef {} {style}", fate.name());
    }
    out
}

/// The document for programs.
pub fn document(drawing: &Drawing, targets: &[&str], errors: &[ErrorObject]) -> Value {
    let nodes = drawing.nodes.iter().enumerate().map(|(at, node)| {
        json!({"id": at, "stage": node.label.stage, "subject": node.label.subject,
               "decision": node.fate.name(), "key": node.key, "reasons": node.reasons,
               "error": node.failure.as_ref().map(ErrorObject::from)})
    });
    let edges = drawing.nodes.iter().enumerate();
    let edges =
        edges.flat_map(|(at, node)| node.on.iter().map(move |on| json!({"from": on, "to": at})));
    json!({"schema": 1, "command": "graph", "ok": errors.is_empty(), "targets": targets,
           "nodes": nodes.collect::<Vec<_>>(), "edges": edges.collect::<Vec<_>>(),
           "errors": errors})
}
