//! From what serde read to what the pipeline is told; collects every fault on the way.

use std::path::{Path, PathBuf};

use toml::Spanned;
use zeroize::Zeroizing;

use super::entries::File;
use super::{Configuration, Fault, line_of, own_state, untrusted};
use crate::protocol::id::Id;
use crate::protocol::job::letter::Letterhead;
use crate::protocol::rules::keyring::{self, Keyring};
use crate::protocol::rules::policy::Policy;
use crate::protocol::wire::cose::Seal;
use crate::system::sysrq::Settings;
use crate::system::trusted_file::{self, Purpose, Untrusted};

/// Collects faults while it turns entries into what they mean.
pub(super) struct Reader<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
    pub(super) faults: Vec<Fault>,
}

impl Reader<'_> {
    pub(super) fn configuration(&mut self, file: File) -> Option<Configuration> {
        let names = self.names(&file);
        let groups: Vec<String> = file.groups.iter().map(|g| g.get_ref().0.clone()).collect();
        let named: Vec<String> = file.command.keys().map(|name| name.get_ref().clone()).collect();
        let commands = self.commands(file.command);
        let keyring = self.keyring(file.key, &named);
        let notify = file.answer.notify.iter().map(|address| address.0.to_string()).collect();
        let answer = self.answer(file.answer, names.first());
        if let Some((letterhead, _)) = &answer {
            self.check_host_key(letterhead, &keyring);
        }
        let (letterhead, transport) = answer?;
        let sysrq = Settings {
            trigger: file.sysrq.trigger.0,
            kmsg: file.sysrq.kmsg.0,
            wait: file.sysrq.wait.0,
            settle: file.sysrq.settle.0,
        };
        let sysrq_fault = sysrq.fault();
        let policy = Policy { names, groups, skew: file.skew.0, commands, sysrq_fault };
        Some(Configuration {
            path: self.path.to_owned(),
            keyring,
            policy,
            state: file.state.map_or_else(own_state, |state| state.0),
            history: file.history.0,
            jobs: file.jobs.get(),
            letterhead,
            transport,
            notify,
            sysrq,
        })
    }

    fn names(&mut self, file: &File) -> Vec<String> {
        let names: Vec<String> = file.names.get_ref().iter().map(|n| n.0.clone()).collect();
        if names.is_empty() {
            self.fault(&file.names, "names is empty", "give this machine a name");
        }
        for group in &file.groups {
            if names.contains(&group.get_ref().0) {
                self.fault(group, "a name is also a group", "take it out of one of the two");
            }
        }
        names
    }

    fn check_host_key(&mut self, letterhead: &Letterhead, keyring: &Keyring) {
        let Seal::Ed25519(key) = &letterhead.key else { return };
        let own = key.verifying_key();
        let shared = keyring.keys().find(|key| keyring::identity(&key.lock) == own.as_bytes());
        let what = match shared {
            Some(key) => format!("the host's signing_key is also [key.{}]", key.id),
            None if keyring::is_published(own.as_bytes()) => {
                "the host's signing_key is published".into()
            }
            None => return,
        };
        let mend = "make a key of its own with netsysrq-mail init".into();
        self.faults.push(Fault { path: self.path.to_owned(), line: None, what, mend });
    }

    pub(super) fn id(&mut self, name: &Spanned<String>) -> Option<Id> {
        let id = Id::new(name.get_ref());
        if id.is_none() {
            let what = format!("{:?} is no id", name.get_ref());
            self.fault(name, &what, "use a-z, 0-9 and -, a letter first, 32 at most");
        }
        id
    }

    /// A file that the configuration names, from its own directory on.
    pub(super) fn beside(&self, file: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("/")).join(file)
    }

    pub(super) fn read<T>(&mut self, at: &Spanned<T>, path: &Path) -> Option<Zeroizing<Vec<u8>>> {
        trusted_file::read(path, Purpose::Secret).map_err(|fault| self.untrusted(at, &fault)).ok()
    }

    pub(super) fn untrusted<T>(&mut self, at: &Spanned<T>, fault: &Untrusted) {
        let line = Some(line_of(self.text, at.span().start));
        self.faults.push(untrusted(self.path, line, fault));
    }

    pub(super) fn fault<T>(&mut self, at: &Spanned<T>, what: &str, mend: &str) {
        self.faults.push(Fault {
            path: self.path.to_owned(),
            line: Some(line_of(self.text, at.span().start)),
            what: what.to_owned(),
            mend: mend.to_owned(),
        });
    }
}
