//! `netsysrq-mail`: turns its arguments into one call, and the result into an exit status.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the edge of the process")]

use std::ffi::OsString;
use std::io::IsTerminal;
use std::panic;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use netsysrq_mail::cli::{self, deliver};
use netsysrq_mail::exit::{self, Ending, Tool};
use netsysrq_mail::system::launcher;
use netsysrq_mail::system::log::{Line, Log};

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    // A panic must end in a status of ours: 101 or an abort would be a bounce. Its message goes to the log alone.
    panic::set_hook(Box::new(|panic| {
        Log::default().write(&Line::error("panic").with("at", &panic.to_string()));
    }));
    let status = panic::catch_unwind(|| run(&arguments)).unwrap_or_else(|_| {
        let claimed = deliver::CLAIMED.load(Ordering::Relaxed);
        let ending = if claimed { Ending::Claimed } else { Ending::TryAgain };
        let (Ok(options) | Err((_, options))) = deliver::Options::parse(&arguments);
        exit::delivery(ending, options.profile)
    });
    ExitCode::from(status)
}

fn run(arguments: &[String]) -> u8 {
    let first = arguments.first().map(String::as_str);
    let tool = || cli::tool(std::env::args_os()).status();
    match verb(arguments) {
        Some(launcher::LAUNCHER) if first == Some(launcher::LAUNCHER) => {
            drop(launcher::launch(arguments.get(1..).unwrap_or_default()));
            Tool::CannotTell.status()
        }
        Some(verb) if cli::TOOLS.contains(&verb) => tool(),
        _ if matches!(first, Some("-h" | "--help" | "-V" | "--version" | "help")) => tool(),
        // no mail system calls it like this
        Some("deliver") if matches!(arguments, [_, word] if word == "-h" || word == "--help") => {
            let words = ["netsysrq-mail", "--help"];
            cli::tool(words.map(OsString::from).into_iter()).status()
        }
        // a person, not a mail system
        verb if verb != Some("deliver") && std::io::stdin().is_terminal() => tool(),
        _ => deliver::run(arguments),
    }
}

/// The verb of a tool: only the flags that every tool has may come before it. Everything else is a delivery, and each
/// of its endings, even that of a wrong word, is a status for the mail system.
fn verb(arguments: &[String]) -> Option<&str> {
    let mut words = arguments.iter().map(String::as_str);
    loop {
        match words.next()? {
            "--config" => drop(words.next()),
            "--json" => {}
            word if word.starts_with("--config=") => {}
            verb => return Some(verb),
        }
    }
}
