//! Owns the graph as a picture: stages are columns, plugins are rows. It needs nothing besides,
//! and takes light or dark from whoever shows it.

use std::{collections::HashMap, fmt::Write};

use super::{super::markup::escaped, subject, sums, tooltip};
use crate::drawing::Drawing;

/// Width of a node, and of the space between columns.
const WIDE: usize = 128;
const APART: usize = 48;
/// Height of a node, and of a row.
const HIGH: usize = 36;
const ROW: usize = 46;
/// Room for the names of rows, and of columns.
const LEFT: usize = 250;
const TOP: usize = 64;
/// Characters of a name that fit.
const NAME: usize = 32;
const STAGE: usize = 17;

const STYLE: &str = include_str!("style.css");

/// Where everything goes.
struct Layout {
    columns: Vec<String>,
    /// Column and row of each node.
    cells: Vec<(usize, usize)>,
    /// Names of rows: of the first row of each plugin.
    rows: Vec<Option<String>>,
}

/// The whole picture.
pub fn picture(drawing: &Drawing) -> String {
    let layout = layout(drawing);
    let wide = LEFT + layout.columns.len().max(1) * (WIDE + APART);
    let high = TOP + layout.rows.len().max(1) * ROW + 16;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" \
         viewBox=\"0 0 {wide} {high}\" role=\"img\" aria-label=\"The stages of a publish\">\n\
         <style>\n{STYLE}</style>\n<rect class=\"ground\" width=\"{wide}\" height=\"{high}\"/>\n\
         <text class=\"sums\" x=\"16\" y=\"24\">{}</text>\n",
        escaped(&sums(drawing))
    );
    for (at, name) in layout.columns.iter().enumerate() {
        let x = LEFT + at * (WIDE + APART) + WIDE / 2;
        let _ = writeln!(
            out,
            "<text class=\"column\" x=\"{x}\" y=\"{}\">{}</text>",
            TOP - 14,
            short(name, STAGE)
        );
    }
    for (at, name) in layout.rows.iter().enumerate() {
        let Some(name) = name else { continue };
        let y = TOP + at * ROW + HIGH / 2 + 5;
        let _ = writeln!(
            out,
            "<text class=\"row\" x=\"16\" y=\"{y}\"><title>{}</title>{}</text>",
            escaped(name),
            short(name, NAME)
        );
    }
    let place = |at: usize| {
        let (column, row) = layout.cells[at];
        (LEFT + column * (WIDE + APART), TOP + row * ROW)
    };
    for (at, node) in drawing.nodes.iter().enumerate() {
        let (x, y) = place(at);
        for on in &node.on {
            let (from, top) = place(*on);
            let (from, start, end) = (from + WIDE, top + HIGH / 2, y + HIGH / 2);
            // What passes other columns in its own row bows below them.
            let bow = if start == end && x > from + APART {
                ROW / 2
            } else {
                0
            };
            let _ = writeln!(
                out,
                "<path class=\"edge\" d=\"M{from} {start}C{} {} {} {} {x} {end}\"/>",
                from + APART,
                start + bow,
                x.saturating_sub(APART),
                end + bow,
            );
        }
    }
    for (at, node) in drawing.nodes.iter().enumerate() {
        let (x, y) = place(at);
        let middle = x + WIDE / 2;
        let _ = writeln!(
            out,
            "<g class=\"node {}\"><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDE}\" \
             height=\"{HIGH}\" rx=\"6\"/><text class=\"stage\" x=\"{middle}\" y=\"{}\">{}</text>\
             <text class=\"fate\" x=\"{middle}\" y=\"{}\">{}</text></g>",
            node.fate.name(),
            escaped(&tooltip(drawing, at)),
            y + 15,
            short(&node.label.stage, STAGE),
            y + 29,
            node.fate.words(),
        );
    }
    out.push_str("</svg>\n");
    out
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return escaped(text);
    }
    let cut: String = text.chars().take(most - 1).collect();
    escaped(&format!("{cut}\u{2026}"))
}

fn layout(drawing: &Drawing) -> Layout {
    let nodes = &drawing.nodes;
    let mut depth = vec![0; nodes.len()];
    let mut columns: Vec<(usize, String)> = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        depth[at] = node.on.iter().map(|on| depth[*on] + 1).max().unwrap_or(0);
        match columns
            .iter_mut()
            .find(|(_, name)| *name == node.label.stage)
        {
            Some((deep, _)) => *deep = (*deep).max(depth[at]),
            None => columns.push((depth[at], node.label.stage.clone())),
        }
    }
    columns.sort_by_key(|(deep, _)| *deep);
    let columns: Vec<String> = columns.into_iter().map(|(_, name)| name).collect();
    let by_name: HashMap<&str, usize> = columns
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_str(), at))
        .collect();
    let mut cells = vec![(0, 0); nodes.len()];
    let mut rows = Vec::new();
    for members in drawing.members() {
        // Two stages of one name take two rows.
        let mut taken: Vec<Vec<usize>> = Vec::new();
        let first = rows.len();
        for at in members {
            let column = by_name[nodes[at].label.stage.as_str()];
            let free = taken.iter().position(|row| !row.contains(&column));
            let row = free.unwrap_or_else(|| {
                taken.push(Vec::new());
                rows.push((first == rows.len()).then(|| subject(drawing, at)));
                taken.len() - 1
            });
            taken[row].push(column);
            cells[at] = (column, first + row);
        }
    }
    Layout {
        columns,
        cells,
        rows,
    }
}
