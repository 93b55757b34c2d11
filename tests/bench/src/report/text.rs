//! Tables for a terminal, and for documents in Markdown.

use std::fmt::Write as _;

use super::blocks::Block;

/// Columns are aligned: the first two to the left, numbers to the right.
pub fn terminal(blocks: &[Block]) -> String {
    let mut out = String::new();
    for block in blocks {
        out.push_str(&format!("\n== {} ==\n", block.title));
        if !block.text.is_empty() {
            out.push_str(&format!("{}\n", block.text));
        }
        let columns = block.table.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = block.table.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        for row in &block.table {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(widths.iter().copied()).enumerate() {
                // Writing to a String cannot fail.
                let _ = if is_words(column, row.len(), block) {
                    write!(line, "{cell:<width$}  ")
                } else {
                    write!(line, "{cell:>width$}  ")
                };
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        for note in &block.notes {
            out.push_str(&format!("  {note}\n"));
        }
    }
    out
}

pub fn markdown(blocks: &[Block]) -> String {
    let mut out = String::from("# Result of `make bench`\n");
    for block in blocks {
        out.push_str(&format!("\n## {}\n\n", block.title));
        if !block.text.is_empty() {
            out.push_str(&format!("{}\n\n", block.text));
        }
        for (number, row) in block.table.iter().enumerate() {
            out.push_str(&format!("| {} |\n", row.join(" | ")));
            if number == 0 {
                let rule: Vec<&str> = (0..row.len())
                    .map(|column| {
                        if is_words(column, row.len(), block) {
                            "---"
                        } else {
                            "--:"
                        }
                    })
                    .collect();
                out.push_str(&format!("|{}|\n", rule.join("|")));
            }
        }
        if !block.notes.is_empty() {
            out.push('\n');
        }
        for note in &block.notes {
            out.push_str(&format!("- {note}\n"));
        }
    }
    out
}

/// Names and verdicts are words; all else is numbers.
fn is_words(column: usize, columns: usize, block: &Block) -> bool {
    let heads = block.table.first();
    let head = heads.and_then(|row| row.get(column)).map(String::as_str);
    column == 0 || head == Some("contender") || (column + 1 == columns && head == Some(""))
}
