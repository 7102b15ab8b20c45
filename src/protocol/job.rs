//! What becomes of a request once it is claimed: its journal, its end, its answer.

pub mod history;
pub mod journal;
pub mod letter;
pub mod name;
pub mod outcome;
pub mod record;
pub mod state;
