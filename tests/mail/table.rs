//! The table of `docs/mail-systems.md`: what it says about a way and an outcome must be what was measured.

use std::fs;
use std::path::{Path, PathBuf};

use crate::conformance::WAYS;
use crate::outcomes::Cell;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/mail-systems.md");

/// The rows.
const OUTCOMES: &[&str] = &[
    "run",
    "denied",
    "replayed",
    "not for us",
    "damaged",
    "forged",
    "configuration broken",
    "spool unusable",
    "disk full",
    "program killed",
    "program missing",
    "slow command",
    "huge mail",
    "huge output",
    "mail system restarted",
    "two recipients",
];

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

/// Whether the page says that a mail is held first.
pub(crate) fn says_held(way: &str, outcome: &str) -> bool {
    written(way, &outcome.replace('_', " ")).is_some_and(|cell| cell.starts_with("held"))
}

/// Leaves a cell for the table, and checks the page against it.
pub(crate) fn enter(way: &str, outcome: &str, cell: &Cell) {
    let outcome = &outcome.replace('_', " ");
    assert!(OUTCOMES.contains(&outcome.as_str()), "{outcome} has no row");
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

/// The tables in the order of the page, from what the tests of this run have left.
#[test]
#[ignore = "prints what the other tests have measured"]
fn the_table_as_measured() {
    for is_mailbox in [true, false] {
        let ways = WAYS.iter().filter(|way| way.is_mailbox() == is_mailbox).map(|way| way.name);
        let ways: Vec<&str> = ways.collect();
        println!("| outcome | {} |\n|---|{}", ways.join(" | "), "---|".repeat(ways.len()));
        for outcome in OUTCOMES {
            let cells = ways.iter().map(|way| {
                fs::read_to_string(measured().join(way).join(outcome)).unwrap_or_default()
            });
            println!("| {outcome} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        println!();
    }
}
