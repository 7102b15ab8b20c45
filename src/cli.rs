//! The subcommands: each reads its options, calls the rest of the program, and reports to a person or a mail system.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "talks to whoever called")]

mod check;
pub mod deliver;
#[cfg(feature = "compose")]
mod demo;
mod explain;
#[cfg(feature = "compose")]
mod hosts;
mod init;
mod key_file;
#[cfg(feature = "compose")]
mod keygen;
mod log;
mod output;
mod resume;
#[cfg(feature = "compose")]
mod sign;
#[cfg(feature = "compose")]
mod verify;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::exit::Tool;

/// Runs one signed command for a mail, and answers it.
#[derive(Debug, Parser)]
#[command(name = "netsysrq-mail", version, after_help = AFTER_HELP)]
struct CommandLine {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "Without a verb, or with \"deliver\", a message is read from standard input:\n  \
    netsysrq-mail [deliver] [--profile mailbox|mta|qmail] [--wait] [--verbose]\n\
    See netsysrq-mail(1) and netsysrq-mail(8).";

#[derive(Debug, Subcommand)]
enum Verb {
    #[cfg(feature = "compose")]
    /// Compose a request
    Sign(Box<sign::Options>),
    #[cfg(feature = "compose")]
    /// Make a key, and print its stanza
    Keygen(keygen::Options),
    /// Make whatever is missing: configuration, host key, state
    Init(init::Options),
    /// Say what is wrong with this installation, and how to mend it
    Check,
    /// Say what is in a message and what would be done; change nothing
    Explain,
    #[cfg(feature = "compose")]
    /// Check an answer on standard input
    Verify(verify::Options),
    #[cfg(feature = "compose")]
    /// Show the whole story in a temporary directory
    Demo,
    /// Say what became of requests, newest first
    Log,
    /// Take up what a crash, a reboot or a mail system that was down left unfinished
    Resume(resume::Options),
}

/// The verbs that are not a delivery.
pub const TOOLS: [&str; 9] =
    ["sign", "keygen", "init", "check", "explain", "verify", "demo", "log", "resume"];

/// Runs a tool; `words` are the name and the arguments of the program.
#[must_use]
pub fn tool(words: impl Iterator<Item = OsString>) -> Tool {
    let done = run(words);
    let Some(error) = output::unprinted() else { return done };
    drop(writeln!(io::stderr(), "netsysrq-mail: standard output: {error}"));
    Tool::CannotTell
}

fn run(words: impl Iterator<Item = OsString>) -> Tool {
    let line = match CommandLine::try_parse_from(words) {
        Ok(line) => line,
        Err(error) if error.use_stderr() => {
            // if the terminal is closed, there is nobody to tell
            drop(error.print());
            if !cfg!(feature = "compose") {
                let absent =
                    "sign, keygen, verify and demo are not in this build: it is for a host";
                drop(writeln!(io::stderr(), "netsysrq-mail: note: {absent}"));
            }
            return Tool::Usage;
        }
        Err(help) => {
            output::say(&help.to_string());
            return Tool::Yes;
        }
    };
    let CommandLine { config, json, verb } = line;
    let config = config.as_deref();
    let done = match verb {
        #[cfg(feature = "compose")]
        Verb::Sign(options) => sign::run(&options, json).map_err(|fault| (fault, Tool::No)),
        #[cfg(feature = "compose")]
        Verb::Keygen(options) => keygen::run(&options).map_err(|fault| (fault, Tool::No)),
        Verb::Init(options) => {
            init::run(&options, config).map_err(|fault| (fault, Tool::CannotTell))
        }
        Verb::Check => check::run(config, json).map_err(|fault| (fault, Tool::CannotTell)),
        Verb::Explain => explain::run(config, json).map_err(|fault| (fault, Tool::CannotTell)),
        #[cfg(feature = "compose")]
        Verb::Verify(options) => {
            verify::run(&options, json).map_err(|fault| (fault, Tool::CannotTell))
        }
        #[cfg(feature = "compose")]
        Verb::Demo => demo::run().map_err(|fault| (fault, Tool::No)),
        Verb::Log => log::run(config, json).map_err(|fault| (fault, Tool::CannotTell)),
        Verb::Resume(options) => Ok(resume::run(&options, config)),
    };
    done.unwrap_or_else(|(fault, tool)| {
        drop(writeln!(io::stderr(), "netsysrq-mail: {fault}"));
        tool
    })
}
