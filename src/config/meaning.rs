//! What a configuration means: turns what serde read into what the pipeline is told.

use std::path::PathBuf;
use std::time::Duration;

use super::entries::File;
use super::fault::Fault;
use super::place::own_state;
use super::reader::Reader;
use crate::protocol::job::letter::Letterhead;
use crate::protocol::rules::keyring::{self, Keyring};
use crate::protocol::rules::policy::Policy;
use crate::protocol::wire::cose::Seal;
use crate::system::mailer::Transport;
use crate::system::sysrq::Settings;

/// A configuration that can be used.
#[derive(Debug)]
pub struct Configuration {
    /// Where it was read from.
    pub path: PathBuf,
    /// The keys.
    pub keyring: Keyring,
    /// Names, groups and commands.
    pub policy: Policy,
    /// The state directory.
    pub state: PathBuf,
    /// How long finished jobs are remembered.
    pub history: Duration,
    /// How many commands run at a time.
    pub jobs: u32,
    /// Who answers.
    pub letterhead: Letterhead,
    /// How answers leave.
    pub transport: Transport,
    /// Addresses that get a line for each accepted or denied request.
    pub notify: Vec<lettre::Address>,
    /// How SysRq keys are pressed.
    pub sysrq: Settings,
}

impl Reader<'_> {
    pub(super) fn configuration(&mut self, file: File) -> Option<Configuration> {
        let names = self.names(&file);
        let groups: Vec<String> = file.groups.iter().map(|g| g.get_ref().0.clone()).collect();
        let named: Vec<String> = file.command.keys().map(|name| name.get_ref().clone()).collect();
        let commands = self.commands(file.command);
        let keyring = self.keyring(file.key, &named);
        let notify = file.answer.notify.iter().map(|address| address.0.clone()).collect();
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
            term_wait: file.sysrq.term_wait.0,
        };
        let policy = Policy {
            names,
            groups,
            skew: file.skew.0,
            commands,
            sysrq_fault: sysrq.fault(),
            signal_fault: sysrq.signal_fault(),
        };
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
                self.fault(group, "a name is also a group", "remove it from one of the two");
            }
        }
        names
    }

    fn check_host_key(&mut self, letterhead: &Letterhead, keyring: &Keyring) {
        let Seal::Ed25519(key) = &letterhead.key else { return };
        let own = key.verifying_key();
        let shared = keyring.keys().find(|key| keyring::identity(&key.verifier) == own.as_bytes());
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
}
