//! The tables of `docs/sysrq.md`: each case leaves its row, and they are printed together.

use std::fs;
use std::path::{Path, PathBuf};

/// The kinds of rows, and what their cells say.
const TABLES: [(&str, &[&str]); 2] = [
    (
        "well",
        &[
            "kernel",
            "sequence",
            "happened",
            "notice first",
            "data there",
            "journal clean",
            "replay inert",
            "back answered",
        ],
    ),
    ("sick", &["kernel", "what is wrong", "request", "what happened", "seconds", "lost"]),
];

fn measured() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/guests")
}

/// Leaves a row of one of the tables.
pub(crate) fn enter(table: &str, cells: &[&str]) {
    let name: String = cells[..3].join(" ").replace([' ', '/'], "-");
    fs::create_dir_all(measured()).unwrap();
    let row = cells.join(" | ");
    println!("{table}: {row}");
    fs::write(measured().join(format!("{table}-{name}.row")), row).unwrap();
}

/// A cell.
pub(crate) fn yes(holds: bool) -> &'static str {
    if holds { "yes" } else { "no" }
}

#[test]
#[ignore = "prints what the other tests have measured"]
fn the_table_as_measured() {
    for (table, head) in TABLES {
        println!("| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
        let files = fs::read_dir(measured()).into_iter().flatten().map(|file| file.unwrap().path());
        let is_row = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with(table) && name.ends_with(".row")
        };
        let mut rows: Vec<String> =
            files.filter(is_row).map(|path| fs::read_to_string(path).unwrap()).collect();
        rows.sort();
        rows.iter().for_each(|row| println!("| {row} |"));
        println!();
    }
}
