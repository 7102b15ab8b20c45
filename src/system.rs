//! The effects: what touches the world, and decides nothing.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "effects live here")]

pub mod accounts;
pub mod aside;
pub mod clock;
pub mod control_group;
pub mod exec;
pub mod kernel_log;
pub mod launcher;
pub mod log;
pub mod mailer;
pub mod marker;
pub mod rate;
pub mod runner;
pub mod spool;
pub mod stdin;
pub mod sysrq;
pub mod trusted_file;
pub mod urgency;
