//! netsysrq-mail.
pub mod cli;
pub mod compose;
pub mod config;
pub mod exit;
pub mod pipeline;
pub mod protocol;
pub mod system;
