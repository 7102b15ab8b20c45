//! The `[key.X]` tables.

use std::collections::BTreeMap;
use toml::Spanned;

use super::entries::KeyEntry;
use super::reader::Reader;
use crate::protocol::id::Id;
use crate::protocol::rules::built_in::BuiltIn;
use crate::protocol::rules::keyring::{self, Key, Keyring, Unfit};
use crate::protocol::wire::cose::Verifier;
use crate::protocol::wire::secret;

impl Reader<'_> {
    pub(super) fn keyring(
        &mut self,
        entries: BTreeMap<Spanned<String>, KeyEntry>,
        commands: &[String],
    ) -> Keyring {
        let mut keyring = Keyring::default();
        for (name, entry) in entries {
            let Some(id) = self.id(&name) else { continue };
            let allow = self.allow(&entry, commands);
            let Some(verifier) = self.verifier(&name, &entry) else { continue };
            let key = Key {
                id,
                verifier,
                answer_to: entry.answer_to.0,
                allow,
                sysrq: entry.sysrq.into_iter().map(|keys| keys.0).collect(),
                max_ttl: entry.max_ttl.map_or(keyring::MAX_TTL, |ttl| ttl.0),
                per_hour: entry.per_hour.unwrap_or(keyring::PER_HOUR),
                not_before: entry.not_before.map(|time| time.0),
                not_after: entry.not_after.map(|time| time.0),
                revoked: entry.revoked,
            };
            match keyring.add(key) {
                Ok(()) => {}
                Err(Unfit::Published) => {
                    self.fault(
                        &name,
                        "this is a published example key",
                        "make one with netsysrq-mail keygen",
                    );
                }
                Err(Unfit::SharedWith(other)) => {
                    self.fault(
                        &name,
                        &format!("the same key as [key.{other}]"),
                        "make another key",
                    );
                }
            }
        }
        keyring
    }

    fn allow(&mut self, entry: &KeyEntry, commands: &[String]) -> Vec<Id> {
        let Some(allow) = &entry.allow else {
            let default = BuiltIn::ALL.into_iter().filter(|built_in| built_in.is_default());
            return default.filter_map(|built_in| Id::new(built_in.name())).collect();
        };
        let mut ids = Vec::new();
        for name in allow {
            match Id::new(name.get_ref()) {
                Some(id)
                    if BuiltIn::parse(id.as_str()).is_some()
                        || commands.contains(name.get_ref()) =>
                {
                    ids.push(id);
                }
                _ => {
                    let what = format!("allow names {:?}, which is not a command", name.get_ref());
                    self.fault(name, &what, "add a [command.X] for it, or remove it");
                }
            }
        }
        ids
    }

    fn verifier(&mut self, name: &Spanned<String>, entry: &KeyEntry) -> Option<Verifier> {
        match (&entry.public, &entry.secret_file) {
            (Some(public), None) => Some(Verifier::Ed25519(public.0)),
            (None, Some(file)) => {
                let path = self.beside(file.get_ref());
                let octets = self.read(file, &path)?;
                match secret::read(&octets) {
                    Some(secret) => Some(Verifier::Hmac(secret)),
                    None => {
                        let what = format!("{} is not 32 octets or more in base64", path.display());
                        self.fault(file, &what, "make it with netsysrq-mail keygen --hmac");
                        None
                    }
                }
            }
            _ => {
                self.fault(name, "a key has either public or secret_file", "give one of the two");
                None
            }
        }
    }
}
