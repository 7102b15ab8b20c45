//! Every mail system that the project names, installed and running for real, each on a machine of its own: what it does
//! with each way in which a delivery can end.
//!
//! A machine is a set of namespaces over this system's own files (`machine/`), with Debian's packages in layers and a
//! network that ends at itself. Nothing in it outlives its test. Needs root.

#![cfg(test)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests touch the world")]
#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows has failed")]

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
