//! The table of `docs/mail-systems.md`: what it says of a way and an outcome must be what was measured.

use std::fs;
use std::path::{Path, PathBuf};

use crate::outcomes::Cell;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/mail-systems.md");

/// Where the measured cells are left, for the test command to print.
fn measured() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/mail-systems")
}

/// What the page says in the row of `outcome`, in the column of `way`.
fn written(way: &str, outcome: &str) -> Option<String> {
    let page = fs::read_to_string(PAGE).ok()?;
    let mut column = None;
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if cells[0] == "outcome" {
            column = cells.iter().position(|cell| *cell == way);
        } else if let Some(column) = column
            && cells[0] == outcome
        {
            return cells.get(column).map(|cell| (*cell).to_owned());
        }
    }
    None
}

/// Leaves a cell for the table, and holds the page to it.
pub(crate) fn enter(way: &str, outcome: &str, cell: &Cell) {
    let directory = measured().join(way);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(outcome), &cell.0).unwrap();
    println!("{way}: {outcome}: {}", cell.0);
    assert_eq!(
        written(way, outcome).as_ref(),
        Some(&cell.0),
        "docs/mail-systems.md says otherwise"
    );
}
