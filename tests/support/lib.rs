//! What the suites share: a site to test on, processes, and what a test needs from the machine.

#![allow(dead_code, unused_imports, reason = "each suite uses a part of it")]

mod peers;
mod processes;
mod site;

pub(crate) use peers::*;
pub(crate) use processes::*;
pub(crate) use site::*;
