//! Every mail system that the project names, really installed and really running, each on a machine of its own: what it
//! does with each way in which a delivery can end.
//!
//! A machine is a set of namespaces over this system's own files (`machine/`), with Debian's packages in layers and a
//! network that ends at itself. Nothing in it outlives its test. Needs root.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests touch the world")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed"
)]
#![allow(dead_code, reason = "support is shared with the other suites")]

#[path = "../support/lib.rs"]
mod support;

mod answers;
mod clients;
mod conformance;
mod host;
mod limits;
mod machine;
mod offline;
mod operator;
mod outcomes;
mod table;
mod ways;
mod webmail;
