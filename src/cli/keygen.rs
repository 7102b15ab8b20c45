//! `keygen`: a new key, and the stanza that makes a host know it.

use std::path::{Path, PathBuf};

use super::key_file;
use super::output::say;
use crate::exit::Tool;
use crate::protocol::id::Id;
use crate::protocol::wire::secret;

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
        let secret = secret::write(&key_file::random()?);
        key_file::write(path, &secret)?;
        format!(
            "secret_file = {:?}    # copy it to the host, mode 600",
            path.file_name().unwrap_or_default()
        )
    } else {
        format!("public      = {:?}", key_file::make(path, id.as_str())?)
    };
    say(&format!(
        "# for the host's configuration:\n[key.{id}]\n{key_lines}\n\
         answer_to   = \"you@example.com\"    # the one address that is answered\n\
         allow       = [\"ping\", \"help\", \"last\", \"revoke\"]    # and commands of that host\n",
    ));
    Ok(Tool::Yes)
}

/// The file's name as an id; `key` if no id can be made of it.
fn id_of(path: &Path) -> Id {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(32).collect();
    Id::new(plain.trim_matches('-')).or_else(|| Id::new("key")).unwrap_or_else(|| unreachable!())
}
