//! The program as others meet it: its command line, its mail systems, its files.

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

#[path = "../support/lib.rs"]
mod support;

mod agent;
mod bad_config;
mod bad_mail;
mod callers;
mod commands;
mod fixtures;
mod interop;
mod operator;
mod pages;
mod procmail;
mod sending;
mod spool;
mod story;
mod syslog;
mod transports;
