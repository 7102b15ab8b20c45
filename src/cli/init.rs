//! `init`: makes whatever is missing of configuration, host key and state, and prints a stanza for those who sign.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::key_file;
use super::output::say;
use crate::config;
use crate::exit::Tool;
use crate::protocol::wire::openssh;
use crate::system::spool::{FileSpool, Made};
use crate::system::{accounts, clock, marker};

/// Options of `init`.
#[derive(clap::Args, Debug)]
pub(super) struct Options {
    /// Start a new epoch: after a restore, a clone, a rollback, or a clock that ran ahead
    #[arg(long)]
    fence: bool,
}

/// Keys that may sign further ahead than this are named when a fence voids what they signed.
const LONG: Duration = Duration::from_secs(7 * 86400);

/// Makes, and prints what was made.
pub(super) fn run(options: &Options, config: Option<&Path>) -> Result<Tool, String> {
    let path = match config {
        Some(_) => config::path(config),
        None => config::own_path(),
    };
    let made_config = make_config(&path)?;
    let places = Places::read(&path)?;
    let made_key = make_key(&places)?;
    let made_state = make_state(&places, &path, options.fence)?;
    let made = made_config || made_key || made_state;
    if !made {
        say("everything was there already; nothing was changed\n");
    }
    say(&stanza(&places)?);
    Ok(if made { Tool::Yes } else { Tool::No })
}

/// What `init` needs from a configuration, even from an incomplete one.
struct Places {
    name: String,
    address: String,
    signing_key: PathBuf,
    state: PathBuf,
}

impl Places {
    fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| failed(&e))?;
        let table: toml::Table = toml::from_str(&text).map_err(|e| failed(&e.message()))?;
        let answer = table.get("answer").and_then(toml::Value::as_table);
        let text =
            |value: Option<&toml::Value>| value.and_then(|v| v.as_str()).map(ToOwned::to_owned);
        let in_answer = |key: &str| text(answer.and_then(|answer| answer.get(key)));
        let name = table.get("names").and_then(|names| names.as_array()?.first());
        Ok(Self {
            name: text(name).ok_or_else(|| failed(&"names is missing"))?,
            address: in_answer("from").ok_or_else(|| failed(&"from is missing in [answer]"))?,
            signing_key: in_answer("signing_key")
                .ok_or_else(|| failed(&"signing_key is missing in [answer]"))?
                .into(),
            state: text(table.get("state")).map_or_else(config::own_state, PathBuf::from),
        })
    }
}

fn make_config(path: &Path) -> Result<bool, String> {
    if path.exists() {
        return Ok(false);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    make_directories(directory)?;
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy().to_ascii_lowercase();
    let host = if host.is_empty() { "localhost".to_owned() } else { host };
    // for root, an address of our own; for a user, their mailbox
    let own = accounts::own();
    let text = TEMPLATE
        .replace("@USER@", if own.uid == 0 { "netsysrq" } else { &own.name })
        .replace("@NAME@", host.split('.').next().unwrap_or(&host))
        .replace("@HOST@", &host)
        .replace("@STATE@", &config::own_state().display().to_string())
        .replace("@KEY@", &directory.join("host_ed25519").display().to_string());
    key_file::write(path, &text)?;
    say(&format!("made {}: read it, and edit it as you like\n", path.display()));
    Ok(true)
}

fn make_key(places: &Places) -> Result<bool, String> {
    let path = &places.signing_key;
    if path.exists() {
        return Ok(false);
    }
    key_file::make(path, &format!("netsysrq-mail@{}", places.name))?;
    say(&format!("made {}: this host's key\n", path.display()));
    Ok(true)
}

fn make_state(places: &Places, config: &Path, fence: bool) -> Result<bool, String> {
    let state = &places.state;
    let failed = |error: io::Error| format!("{}: {error}", state.display());
    if let Some(parent) = state.parent() {
        make_directories(parent)?;
    }
    let now = clock::now();
    if !fence {
        let made = FileSpool::init(state, now).map_err(failed)?;
        match made {
            Made::Nothing => {}
            Made::Parts => say(&format!("made what was missing in {}\n", state.display())),
            Made::Spool => say(&format!(
                "made {}: requests signed before {now}, less the skew, are refused; \
                 if there was a spool before, run netsysrq-mail init --fence now\n",
                state.display()
            )),
        }
        return Ok(made != Made::Nothing);
    }
    let loaded = config::load_or_say(config)?;
    // a signer's clock may be ahead by the skew: what was signed before now is dated before this
    let cut = now.after(loaded.policy.skew);
    let epoch = cut.after(loaded.policy.skew);
    if marker::exists(state) {
        if FileSpool::fence(state, epoch).map_err(failed)? {
            say(
                "the list of keys revoked by request is lost: set revoked = true in their [key.X]\n",
            );
        }
    } else {
        FileSpool::init(state, epoch).map_err(failed)?;
    }
    say(&format!(
        "fenced {}: requests signed before {cut} are refused; sign new ones after that\n",
        state.display()
    ));
    for key in loaded.keyring.keys().filter(|key| key.max_ttl > LONG) {
        let ttl = humantime::format_duration(key.max_ttl);
        say(&format!("  what [key.{}] signed up to {ttl} ahead is void\n", key.id));
    }
    Ok(true)
}

fn stanza(places: &Places) -> Result<String, String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("{}: {error}", places.signing_key.display());
    let text = std::fs::read_to_string(&places.signing_key).map(Zeroizing::new);
    let key = openssh::private_key(&text.map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
    let line =
        openssh::public_line(&key.verifying_key(), &format!("netsysrq-mail@{}", places.name));
    Ok(format!(
        "\n# for ~/.config/netsysrq-mail/hosts.toml of everybody who signs for this host:\n\
         [host.{name:?}]\nmail     = {address:?}\nhost_key = {line:?}\n\
         # key    = \"~/.ssh/id_ed25519\"\n# key_id = \"alice\"\n# from   = \"alice@example.com\"\n\n\
         # for the configuration of this host, one stanza per key: see netsysrq-mail keygen\n",
        name = places.name,
        address = places.address,
    ))
}

fn make_directories(path: &Path) -> Result<(), String> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| format!("{}: {error}", path.display()))
}

const TEMPLATE: &str = r#"# netsysrq-mail: see netsysrq-mail.toml(5). After every change: netsysrq-mail check

names = ["@NAME@"]                       # what requests call this machine; this name belongs to this spool alone
state = "@STATE@"

[answer]
from        = "@USER@@@HOST@"            # an address of this machine
transport   = "sendmail"                 # or "smtp" or "file"
signing_key = "@KEY@"

# Who may ask for what; netsysrq-mail keygen prints a stanza like this.
# [key.alice]
# public    = "ssh-ed25519 AAAA... alice@laptop"
# answer_to = "alice@example.com"
# allow     = ["ping", "help", "uptime"]

[command.uptime]
run = ["/usr/bin/uptime"]
"#;
