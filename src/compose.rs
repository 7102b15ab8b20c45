//! The composing side: what an operator's own machine does. Nothing of the filter imports it.

#![forbid(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod agent;
pub mod hosts;
pub mod keys;
pub mod link;
pub mod sign;
pub mod verify;
