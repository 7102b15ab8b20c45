//! `log`: what the spool remembers, newest first.

use std::path::Path;

use super::output::say;
use crate::config;
use crate::exit::Tool;
use crate::protocol::job::history::History;
use crate::system::spool::FileSpool;

/// Prints one line per job.
pub(super) fn run(config: Option<&Path>, json: bool) -> Result<Tool, String> {
    let config = config::load_or_say(&config::path(config))?;
    let spool = FileSpool::open(&config.state).map_err(|error| error.to_string())?;
    let mut told = Vec::new();
    for name in spool.jobs().map_err(|error| error.to_string())? {
        match spool.peek(&name) {
            Ok(state) => told.push((name, state)),
            // reported, but no reason to withhold the rest
            Err(error) => say(&format!("{error}\n")),
        }
    }
    told.sort_by_key(|(_, state)| std::cmp::Reverse(state.received));
    for (name, state) in &told {
        let history = History::of(name, state);
        say(&if json { format!("{}\n", history.to_json()) } else { format!("{history}\n") });
    }
    Ok(Tool::Yes)
}
