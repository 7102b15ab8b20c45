//! Nothing twice, nothing unanswered: the program under kills, faults, wrong clocks and lost power.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests touch the world")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed"
)]
#![allow(dead_code, reason = "support is shared with the other suite")]

#[path = "../support/lib.rs"]
mod support;

mod clocks;
mod crash;
mod faults;
mod keys;
mod memory;
mod power;
mod races;
