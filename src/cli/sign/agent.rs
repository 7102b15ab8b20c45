//! `sign --agent`: chooses one of the agent's keys, and has the agent sign.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;

use crate::compose::agent::{Agent, Held};
use crate::compose::sign::{self, Signed, Signer};
use crate::protocol::id::Id;
use crate::protocol::wire::openssh;
use crate::protocol::wire::request::Request;

/// How long an agent may take: it may ask its user.
const PATIENCE: Duration = Duration::from_secs(120);

/// Signs with the agent: with the key whose file is named, or with its only one.
pub(super) fn sign(request: Request, key_id: &Id, key: Option<&Path>) -> Result<Signed, String> {
    let mut agent = connect()?;
    let held = agent.keys().map_err(|why| why.to_string())?;
    let key = match key {
        Some(path) => named(path, &held)?,
        None => only(&held)?,
    };
    let mut by_agent = |octets: &[u8]| agent.sign(&key, octets).map_err(|why| why.to_string());
    sign::sign(request, key_id, Signer::Other(&key, &mut by_agent))
}

fn connect() -> Result<Agent<UnixStream>, String> {
    let path = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
    let path = path.ok_or("there is no agent: SSH_AUTH_SOCK is not set")?;
    let connected = UnixStream::connect(&path).and_then(|stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    });
    let stream = connected.map_err(|error| {
        format!("there is no agent: {}: {error}", PathBuf::from(&path).display())
    })?;
    Ok(Agent(stream))
}

/// The key in a file; if that is the private half, the public one beside it is read.
fn named(path: &Path, held: &[Held]) -> Result<VerifyingKey, String> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    let read = [path.to_owned(), PathBuf::from(beside)]
        .into_iter()
        .find_map(|path| openssh::public_key(std::fs::read_to_string(path).ok()?.trim()).ok());
    let path = path.display();
    let key = read.ok_or_else(|| {
        format!("neither {path} nor {path}.pub is an Ed25519 public key: the agent is asked for a key by its public half")
    })?;
    let has = held.iter().any(|held| held.key == key);
    has.then_some(key)
        .ok_or_else(|| format!("the agent does not have the key of {path}: ssh-add it"))
}

fn only(held: &[Held]) -> Result<VerifyingKey, String> {
    match held {
        [] => Err("the agent has no Ed25519 key: ssh-add one".to_owned()),
        [one] => Ok(one.key),
        several => {
            let names: Vec<&str> = several.iter().map(|held| held.comment.as_str()).collect();
            Err(format!(
                "the agent has several Ed25519 keys ({}): name one with --key FILE.pub",
                names.join(", ").escape_debug()
            ))
        }
    }
}
