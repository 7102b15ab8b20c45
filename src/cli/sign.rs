//! `sign`: composes a request, to be pasted into any mail client.

mod agent;
mod send;
mod wait;

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lettre::address::Envelope;
use lettre::message::Mailbox as Address;
use wait::Mailbox;
use zeroize::Zeroizing;

use super::hosts::{self, home};
use super::output::say;
use super::verify;
use crate::compose::hosts::{Host, Hosts};
use crate::compose::keys::{self, Unusable};
use crate::compose::link;
use crate::compose::sign::{self, Signed, Signer};
use crate::exit::Tool;
use crate::protocol::id::Id;
use crate::protocol::time::Time;
use crate::protocol::wire::answer::Statement;
use crate::protocol::wire::cose::Seal;
use crate::protocol::wire::nonce::Nonce;
use crate::protocol::wire::request::Request;
use crate::system::clock;

/// Options of `sign`.
#[derive(clap::Args, Debug)]
pub(super) struct Options {
    /// Key file: an OpenSSH Ed25519 private key, or an HMAC secret; with --agent, its public half will do
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sign with ssh-agent
    #[arg(long)]
    agent: bool,
    /// The key's id on the host
    #[arg(long, value_name = "ID", value_parser = key_id)]
    key_id: Option<Id>,
    /// How long the request is good for
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// Sign as of this time, such as 2026-11-21T06:30:00Z, instead of now
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339)]
    issued_at: Option<SystemTime>,
    /// Ask what would run, and run nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Print a whole mail instead of its text
    #[arg(long, group = "form")]
    mail: bool,
    /// Send the mail with sendmail
    #[arg(long, group = "form")]
    send: bool,
    /// Print a link that opens a mail client
    #[arg(long, group = "form")]
    mailto: bool,
    /// Draw that link as a QR code
    #[arg(long, group = "form")]
    qr: bool,
    /// Send it through this server, without TLS or password, instead of with sendmail
    #[arg(long, value_name = "HOST[:PORT]", requires = "send")]
    smtp: Option<String>,
    /// From address of the mail
    #[arg(long, value_name = "ADDRESS", requires = "form")]
    from: Option<String>,
    /// To address of the mail
    #[arg(long, value_name = "ADDRESS", requires = "form")]
    rcpt: Option<String>,
    /// Wait for the answer in this mailbox, verify and show it
    #[arg(long, value_name = "MAILDIR|MBOX")]
    wait_answer: Option<PathBuf>,
    /// The host's public key, one OpenSSH line; by default those in hosts.toml
    #[arg(long, value_name = "FILE", requires = "wait_answer")]
    host_key: Option<PathBuf>,
    /// Read the passphrase of the key from this descriptor
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
    /// Host or group that is asked
    host: String,
    /// Command, and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Signs, prints or sends the request, and waits for the answer if asked to.
pub(super) fn run(options: &Options, json: bool) -> Result<Tool, String> {
    note_options_behind(&options.command);
    let mut hosts = hosts::read()?;
    note_unlisted(&hosts, options);
    let host = hosts.host.remove(&options.host).unwrap_or_default();
    let signed = sign(options, &host)?;
    // what is missing for the answer is reported before the request leaves
    let awaited = match &options.wait_answer {
        Some(path) => Some((Mailbox::open(path)?, hosts::keys(options.host_key.as_deref())?)),
        None => None,
    };
    give(&signed, options, &host, json)?;
    let Some((mailbox, keys)) = awaited else { return Ok(Tool::Yes) };
    let Request { nonce, expires, .. } = &signed.request;
    let show =
        |statement: &Statement, output: Option<&[u8]>| verify::show(statement, output, false, json);
    if mailbox.wait(nonce, *expires, &keys, show)? {
        return Ok(Tool::Yes);
    }
    let advice = "look in the spam folder, or send the same mail again: it is safe";
    drop(writeln!(io::stderr(), "netsysrq-mail: no answer came; {advice}"));
    Ok(Tool::CannotTell)
}

/// They are valid arguments of a command, but seldom meant as such.
fn note_options_behind(command: &[String]) {
    let own = <Options as clap::Args>::augment_args(clap::Command::new("sign"));
    let flags = command.iter().filter_map(|word| word.strip_prefix("--")?.split('=').next());
    for flag in flags.filter(|flag| own.get_arguments().any(|own| own.get_long() == Some(flag))) {
        hosts::note(&format!("--{flag} comes after the command, so it is an argument of it"));
    }
}

/// A note, not an error: the host decides, and `hosts.toml` may be out of date.
fn note_unlisted(hosts: &Hosts, options: &Options) {
    let (asked, words) = (&options.host, options.command.join(" "));
    let Some(host) = hosts.host.get(asked) else {
        if !hosts.host.is_empty() {
            let known: Vec<&str> = hosts.host.keys().map(String::as_str).collect();
            hosts::note(&format!("hosts.toml has no host {asked:?}; it has {}", known.join(", ")));
        }
        return;
    };
    let listed = |command: &String| *command == words || options.command.first() == Some(command);
    if !host.commands.is_empty() && !host.commands.iter().any(listed) {
        let known = host.commands.join(", ");
        hosts::note(&format!("hosts.toml has no command {words:?} for {asked}; it has {known}"));
    }
}

fn key_id(text: &str) -> Result<Id, String> {
    let mend = "use a-z, 0-9 and -, a letter first, 32 at most";
    Id::new(text).ok_or_else(|| format!("{text:?} is not a key id; {mend}"))
}

fn sign(options: &Options, host: &Host) -> Result<Signed, String> {
    let key_id = match (&options.key_id, &host.key_id) {
        (Some(id), _) => id.clone(),
        (None, Some(id)) => key_id(id)?,
        (None, None) => {
            let stanza = format!("[host.{:?}] of hosts.toml", options.host);
            return Err(format!(
                "the key's id on that host is not known: give --key-id, or key_id in {stanza}"
            ));
        }
    };
    let path = options.key.clone().or_else(|| host.key.as_deref().map(home));
    let request = request(options)?;
    if options.agent {
        return agent::sign(request, &key_id, path.as_deref());
    }
    let path = path
        .ok_or("there is no key to sign with: give --key FILE or --agent, or key in hosts.toml")?;
    let seal = read_key(&path, options.passphrase_fd)?;
    sign::sign(request, &key_id, Signer::Own(&seal))
}

/// Prints the request, or sends it, in the form that was asked for.
fn give(signed: &Signed, options: &Options, host: &Host, json: bool) -> Result<(), String> {
    let from = || address(&options.from, &host.from, "--from");
    let rcpt = || address(&options.rcpt, &host.mail, "--rcpt");
    let link = || Ok::<_, String>(link::mailto(rcpt()?.email.as_ref(), signed));
    if options.send {
        let (from, to) = (from()?, rcpt()?);
        let mail = mail(signed, from.clone(), to.clone())?;
        let server = options.smtp.as_deref();
        let taker = send::send(server, &from.email, &to.email, &mail)?;
        if !json {
            say(&format!("sent to {} by {taker}\n", to.email));
        }
    }
    if json {
        say(&format!("{}\n", describe(signed)));
    } else if options.mail {
        say(&mail(signed, from()?, rcpt()?)?);
    } else if options.mailto {
        say(&format!("{}\n", link()?));
    } else if options.qr {
        say(&link::qr(&link()?).ok_or("the request does not fit into a QR code")?);
    } else if !options.send {
        say(&signed.text());
    }
    Ok(())
}

fn request(options: &Options) -> Result<Request, String> {
    let mut octets = vec![0; 16];
    getrandom::fill(&mut octets).map_err(|error| error.to_string())?;
    let nonce = Nonce::new(octets).ok_or("a nonce has 8 to 32 octets")?;
    let issued = options.issued_at.map_or_else(clock::now, Time::from);
    if options.ttl.as_secs() == 0 {
        return Err("--ttl is less than a second".to_owned());
    }
    Ok(Request {
        audience: options.host.to_ascii_lowercase(),
        issued,
        expires: issued.after(options.ttl),
        nonce,
        command: options.command.clone(),
        dry: options.dry_run,
    })
}

fn describe(signed: &Signed) -> serde_json::Value {
    serde_json::json!({
        "frame": signed.frame,
        "kid": signed.key_id,
        "cti": signed.request.nonce.to_string(),
        "iat": signed.request.issued.unix(),
        "exp": signed.request.expires.unix(),
    })
}

fn address(given: &Option<String>, known: &Option<String>, flag: &str) -> Result<Address, String> {
    let text = given.as_ref().or(known.as_ref()).ok_or(format!("give {flag} ADDRESS"))?;
    let bare = || text.parse().map(|address| Address::new(None, address));
    text.parse().or_else(|_| bare()).map_err(|_| format!("{flag} {text:?} is not a mail address"))
}

fn mail(signed: &Signed, from: Address, to: Address) -> Result<String, String> {
    let envelope = Envelope::new(Some(from.email.clone()), vec![to.email.clone()]);
    let built = lettre::Message::builder()
        .envelope(envelope.map_err(|error| error.to_string())?)
        .from(from)
        .to(to)
        .subject("Request")
        .message_id(Some(format!("<{}.request@netsysrq-mail>", signed.request.nonce)))
        .body(signed.text())
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&built.formatted()).replace("\r\n", "\n"))
}

fn read_key(path: &Path, passphrase_fd: Option<u32>) -> Result<Seal, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    hosts::note_rights(path, 0o077, "can be read by others: chmod 600 it");
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|e| failed(&e))?;
    let seal = match keys::read(&text, None) {
        Err(Unusable::Encrypted) => {
            let passphrase = passphrase(path, passphrase_fd)?;
            keys::read(&text, Some(&passphrase))
        }
        read => read,
    };
    seal.map_err(|unusable| failed(&unusable))
}

fn passphrase(path: &Path, fd: Option<u32>) -> Result<Zeroizing<String>, String> {
    let Some(fd) = fd else {
        if !io::stderr().is_terminal() {
            return Err(format!("{}: {}", path.display(), Unusable::Encrypted));
        }
        let prompt = format!("Passphrase for {}: ", path.display());
        return rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|e| e.to_string());
    };
    let mut text = Zeroizing::new(String::new());
    let opened = std::fs::File::open(format!("/proc/self/fd/{fd}"));
    opened
        .and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|error| format!("--passphrase-fd {fd}: {error}"))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}
