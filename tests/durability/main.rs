//! Nothing twice, nothing unanswered: the program under kills, faults, wrong clocks and lost power.

#![cfg(test)]
#![allow(clippy::too_many_lines, reason = "a table is as long as its cases")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests touch the world")]
#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows has failed")]

#[path = "../support/lib.rs"]
mod support;

mod clocks;
mod crash;
mod faults;
mod ground;
mod keys;
mod memory;
mod power;
mod races;
mod strace;
