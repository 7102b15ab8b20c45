//! New key files, and other files that nobody else may read: nothing is overwritten.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ed25519_dalek::SigningKey;

use crate::protocol::wire::openssh;

/// Makes an Ed25519 key file without a passphrase, and beside it the `.pub` whose line is returned.
pub(super) fn make(path: &Path, comment: &str) -> Result<String, String> {
    let key = SigningKey::from_bytes(&random()?);
    let [a, b, c, d, ..] = random()?;
    let text = openssh::private_file(&key, comment, [a, b, c, d]);
    write(path, &text)?;
    let line = openssh::public_line(&key.verifying_key(), comment);
    let public = path.with_added_extension("pub");
    // half a pair would pass for a whole one
    write(&public, &format!("{line}\n")).inspect_err(|_| drop(fs::remove_file(path)))?;
    Ok(line)
}

/// 32 octets that nobody can guess.
pub(super) fn random() -> Result<[u8; 32], String> {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets).map_err(|error| error.to_string())?;
    Ok(octets)
}

/// Writes a file that must not exist yet, mode 600, durably.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = made.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| failed(path, &error))
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
