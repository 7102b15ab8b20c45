//! `verify`: checks an answer on standard input, and shows only what the host signed.

use std::io::{self, Read};
use std::path::PathBuf;

use super::hosts;
use super::output::{say, say_octets};
use crate::compose::verify::{self, Found};
use crate::exit::Tool;
use crate::protocol::wire::answer::Statement;
use crate::protocol::wire::message::Candidate;
use crate::protocol::wire::nonce::{Nonce, hex};
use crate::protocol::wire::request::Request;

/// The largest mail that is read, in octets.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Options of `verify`.
#[derive(clap::Args, Debug)]
pub(super) struct Options {
    /// The host's public key, one OpenSSH line; by default those in hosts.toml
    #[arg(long, value_name = "FILE")]
    host_key: Option<PathBuf>,
    /// The request that this should answer
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
}

/// Checks and prints.
pub(super) fn run(options: &Options, json: bool) -> Result<Tool, String> {
    let keys = hosts::keys(options.host_key.as_deref())?;
    let nonce = options.request.as_ref().map(nonce_of).transpose()?;
    let mut mail = Vec::new();
    io::stdin().lock().take(LARGEST).read_to_end(&mut mail).map_err(|e| e.to_string())?;
    let (statement, output) = match verify::check(&mail, &keys, nonce.as_ref()) {
        Found::Nothing => {
            say("no answer found\n");
            return Ok(Tool::None);
        }
        Found::Forged => {
            say("not genuine: no known host signed this, or it is damaged\n");
            return Ok(Tool::No);
        }
        Found::Genuine { statement, output } => (statement, output),
    };
    let other = nonce.is_some_and(|nonce| nonce != statement.nonce);
    show(&statement, output.as_deref(), other, json);
    Ok(if other { Tool::Other } else { Tool::Yes })
}

/// Prints what is signed; `other` if it answers a request other than the one named.
pub(super) fn show(statement: &Statement, output: Option<&[u8]>, other: bool, json: bool) {
    if json {
        let output = output.map(String::from_utf8_lossy);
        say(&format!(
            "{}\n",
            serde_json::json!({
                "iss": statement.host, "sub": statement.key, "cti": statement.nonce.to_string(),
                "iat": statement.issued.unix(), "stage": statement.stage, "verdict": statement.verdict.word(),
                "status": statement.status, "duration": statement.duration,
                "out": statement.output.as_ref().map(|out| (out.length, hex(&out.sha256))),
                "output": output, "for_request": !other,
            })
        ));
    } else {
        say(if other { "genuine, but for another request\n" } else { "genuine\n" });
        say(&verify::describe(statement));
        match (&statement.output, output) {
            (Some(_), Some(octets)) => {
                say("\n");
                say_octets(octets);
            }
            (Some(_), None) => say("\nThe output itself is not here, or is not what was signed.\n"),
            (None, _) => {}
        }
    }
}

fn nonce_of(path: &PathBuf) -> Result<Nonce, String> {
    let octets = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // a frame alone has no header: give it an empty one
    let found = [octets.clone(), [b"\n", octets.as_slice()].concat()]
        .iter()
        .find_map(|octets| Candidate::find(octets).candidates.into_iter().next());
    let request = found.and_then(|candidate| {
        Request::decode(candidate.envelope().ok()?.unverified_payload()).ok()
    });
    request
        .map(|request| request.nonce)
        .ok_or_else(|| format!("{}: no request in it", path.display()))
}
