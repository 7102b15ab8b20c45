//! The program as others meet it: its command line, its mail systems, its files.

#![cfg(test)]
#![allow(clippy::too_many_lines, reason = "a table is as long as its cases")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests touch the world")]
#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows has failed")]

#[path = "../support/lib.rs"]
mod support;

mod agent;
mod bad_config;
mod callers;
mod commands;
mod fixtures;
mod forgeries;
mod hostile_input;
mod interop;
mod operator;
mod pages;
mod procmail;
mod sending;
mod spool;
mod stored;
mod story;
mod syslog;
mod transports;
