//! Who may ask for what here, and what the answer to that is.

pub mod allowance;
pub mod built_in;
pub mod command;
pub mod keyring;
pub mod policy;
pub mod sysrq;
pub mod verdict;
