//! The protocol: it is told everything and touches nothing. No file, clock, process or environment is reached from
//! here; `clippy.toml` lists what would reach them, and the line below forbids it.
//!
//! The verbs of the two sentences are [`verify`], [`judge`], [`claim`] and [`take`], with what it starts and finishes.
//! The nouns are in three rooms: [`wire`], [`rules`] and [`job`]. Names, times, refusals and rulings belong to all of
//! them.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod verify;

pub mod judge;

pub mod claim;

pub mod take;

pub mod job;
pub mod rules;
pub mod wire;

pub mod id;
pub mod refusal;
pub mod ruling;
pub mod time;
