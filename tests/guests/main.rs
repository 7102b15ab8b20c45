//! Real kernels: guests in QEMU with the kernel's own trigger, well and sick, judged from outside.
//!
//! `README.md` says how; `./test` fetches the kernels. What takes long is left to `NETSYSRQ_TEST_LONG=1`.

#![cfg(test)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests touch the world")]
#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows has failed")]

#[path = "../support/lib.rs"]
mod support;

mod disk;
mod guest;
mod kernels;
mod mails;
mod rows;
mod sick;
mod well;
mod wires;
