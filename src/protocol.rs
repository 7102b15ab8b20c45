//! The protocol: it is told everything and touches nothing. No file, clock, process or environment is reached from
//! here; `clippy.toml` lists what would reach them, and the line below forbids it.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod answer;
pub mod built_in;
pub mod claim;
pub mod command;
pub mod cose;
pub mod crc;
pub mod damage;
pub mod frame;
pub mod id;
pub mod journal;
pub mod judge;
pub mod keyring;
pub mod letter;
pub mod message;
pub mod name;
pub mod openssh;
pub mod outcome;
pub mod policy;
pub mod readings;
pub mod record;
pub mod refusal;
pub mod request;
pub mod state;
pub mod sysrq;
pub mod take;
pub mod time;
pub mod verdict;
pub mod verify;
pub mod walk;
