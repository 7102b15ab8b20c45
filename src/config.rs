//! The configuration: turns TOML text into what the pipeline is told. Every fault names its line and how to mend it.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "reads the files that it names"
)]

mod answer;
mod commands;
mod entries;
mod fault;
mod keys;
mod load;
mod meaning;
mod place;
mod reader;
mod values;

pub use fault::Fault;
pub use load::{load, load_or_say};
pub use meaning::Configuration;
pub use place::{SYSTEM, own_path, own_state, path};
