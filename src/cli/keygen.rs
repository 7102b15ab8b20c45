//! `keygen`: a new key, and the stanza that makes a host know it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;

use super::output::say;
use crate::exit::Tool;
use crate::protocol::id::Id;
use crate::protocol::wire::{openssh, secret};

/// Options of `keygen`.
#[derive(clap::Args, Debug)]
pub(super) struct Options {
    /// Make an HMAC secret, for one host, instead of an Ed25519 key
    #[arg(long)]
    hmac: bool,
    /// File to make; it must not exist
    file: PathBuf,
}

/// Makes a key and prints its stanza.
pub(super) fn run(options: &Options) -> Result<Tool, String> {
    let path = &options.file;
    let id = id_of(path);
    let key_lines = if options.hmac {
        let secret = secret::write(&random()?);
        write_new(path, secret.as_bytes()).map_err(|error| failed(path, &error))?;
        format!(
            "secret_file = {:?}    # a copy of it there, mode 600",
            path.file_name().unwrap_or_default()
        )
    } else {
        format!("public      = {:?}", new_key(path, id.as_str())?)
    };
    say(&format!(
        "# for the host's configuration:\n[key.{id}]\n{key_lines}\n\
         answer_to   = \"you@example.com\"    # the one address that is answered\n\
         allow       = [\"ping\", \"help\", \"last\", \"revoke\"]    # and commands of that host\n",
    ));
    Ok(Tool::Yes)
}

/// Makes an Ed25519 key file without a passphrase, and beside it the `.pub` whose line is returned.
pub(super) fn new_key(path: &Path, comment: &str) -> Result<String, String> {
    let key = SigningKey::from_bytes(&random()?);
    let [a, b, c, d, ..] = random()?;
    let text = openssh::private_file(&key, comment, [a, b, c, d]);
    write_new(path, text.as_bytes()).map_err(|error| failed(path, &error))?;
    let line = openssh::public_line(&key.verifying_key(), comment);
    let public = path.with_added_extension("pub");
    write_new(&public, format!("{line}\n").as_bytes()).map_err(|error| {
        // half a pair would pass for a whole one
        drop(fs::remove_file(path));
        failed(&public, &error)
    })?;
    Ok(line)
}

fn random() -> Result<[u8; 32], String> {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets).map_err(|error| error.to_string())?;
    Ok(octets)
}

/// Writes a file that must not exist yet, mode 600, durably.
pub(super) fn write_new(path: &Path, octets: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(octets)?;
    file.sync_all()
}

fn failed(path: &Path, error: &io::Error) -> String {
    let mend = if error.kind() == io::ErrorKind::AlreadyExists {
        "; nothing is overwritten: move it away first"
    } else if error.kind() == io::ErrorKind::NotFound {
        "; make its directory first"
    } else {
        ""
    };
    format!("{}: {error}{mend}", path.display())
}

/// The file's name as an id; `key` if there is nothing in it to make one of.
fn id_of(path: &Path) -> Id {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(32).collect();
    Id::new(plain.trim_matches('-')).or_else(|| Id::new("key")).unwrap_or_else(|| unreachable!())
}
