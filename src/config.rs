//! The configuration: TOML text to what the pipeline is told. Every fault has its line and its mend.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "reads the files that it names"
)]

mod entries;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;
use toml::Spanned;
use zeroize::Zeroizing;

use crate::protocol::command::{Answering, Command, Word};
use crate::protocol::cose::{Lock, Seal};
use crate::protocol::id::Id;
use crate::protocol::keyring::{self, Key, Keyring, Unfit};
use crate::protocol::letter::Letterhead;
use crate::protocol::openssh;
use crate::protocol::policy::{BUILT_IN, Policy, SYSRQ};
use crate::system::accounts;
use crate::system::mailer::{self, Smtp, Transport};
use crate::system::sysrq::Settings;
use crate::system::trusted_file::{self, Purpose, Untrusted};
use entries::{AnswerEntry, CommandEntry, File, KeyEntry, TransportName};

/// The file of root, and of everybody who has none of their own.
pub const SYSTEM: &str = "/etc/netsysrq-mail/config.toml";

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
    pub notify: Vec<String>,
    /// How SysRq keys are pressed.
    pub sysrq: Settings,
}

/// What is wrong in a configuration, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1 on, if one can be told.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}; {}", self.what, self.mend)
    }
}

/// Which file is read: `named`; else root's in `/etc`, a user's own in their home as passwd gives it, or the one in `/etc`.
#[must_use]
pub fn path(named: Option<&Path>) -> PathBuf {
    if let Some(named) = named {
        return std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
    }
    let own = own_path();
    if own.exists() { own } else { SYSTEM.into() }
}

/// Where `init` writes a configuration if none is named.
#[must_use]
pub fn own_path() -> PathBuf {
    if geteuid().is_root() {
        return SYSTEM.into();
    }
    Path::new(&accounts::own().home).join(".config/netsysrq-mail/config.toml")
}

/// The state directory where the configuration does not say.
#[must_use]
pub fn own_state() -> PathBuf {
    if geteuid().is_root() {
        return "/var/lib/netsysrq-mail".into();
    }
    Path::new(&accounts::own().home).join(".local/state/netsysrq-mail")
}

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong with it, in the order of its lines.
pub fn load(path: &Path) -> Result<Configuration, Vec<Fault>> {
    let octets = trusted_file::read(path, Purpose::Public)
        .map_err(|fault| vec![untrusted(path, None, &fault)])?;
    let text = String::from_utf8(octets.to_vec()).map_err(|_| {
        let what = "not UTF-8".to_owned();
        vec![Fault { path: path.to_owned(), line: None, what, mend: "write it in UTF-8".into() }]
    })?;
    let file: File = toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| line_of(&text, span.start));
        let mend = "see netsysrq-mail.toml(5)".to_owned();
        vec![Fault { path: path.to_owned(), line, what: error.message().to_owned(), mend }]
    })?;
    let mut reader = Reader { path, text: &text, faults: Vec::new() };
    let configuration = reader.configuration(file);
    reader.faults.sort_by_key(|fault| fault.line);
    configuration.filter(|_| reader.faults.is_empty()).ok_or(reader.faults)
}

/// Reads a configuration, for who has room for one fault.
///
/// # Errors
/// The first of its faults, in words.
pub fn load_or_say(path: &Path) -> Result<Configuration, String> {
    load(path).map_err(|faults| faults.first().map(ToString::to_string).unwrap_or_default())
}

/// Collects faults while it turns entries into what they mean.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn configuration(&mut self, file: File) -> Option<Configuration> {
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

    fn commands(
        &mut self,
        entries: BTreeMap<Spanned<String>, CommandEntry>,
    ) -> BTreeMap<Id, Command> {
        let mut commands = BTreeMap::new();
        for (name, entry) in entries {
            let Some(id) = self.id(&name) else { continue };
            if BUILT_IN.contains(&id.as_str()) || id.as_str() == SYSRQ {
                self.fault(&name, "this name is built in", "choose another name");
            }
            if let Some(command) = self.command(id.clone(), entry) {
                commands.insert(id, command);
            }
        }
        commands
    }

    fn command(&mut self, id: Id, entry: CommandEntry) -> Option<Command> {
        let run: Vec<Word> = entry.run.get_ref().iter().map(|word| word.0.clone()).collect();
        let program = match run.first() {
            Some(Word::Literal(program)) if program.starts_with('/') => PathBuf::from(program),
            _ => {
                let what = format!("run of {id} does not start with an absolute path");
                self.fault(&entry.run, &what, "write the program from / on");
                return None;
            }
        };
        let account = match entry.user {
            None => Ok(accounts::own()),
            Some(user) => account(&user),
        };
        let (mut account, mut fault) = match account {
            Ok(account) => (account, None),
            Err(fault) => (accounts::own(), Some(fault)),
        };
        if let Some(group) = &entry.group {
            match accounts::find_group(group) {
                Some(gid) if geteuid().is_root() || account.gid == gid => {
                    account.gid = gid;
                    account.groups.push(gid);
                }
                Some(_) => fault = Some(format!("only root can run it as group {group}")),
                None => fault = Some(format!("there is no group {group}")),
            }
        }
        if let Err(untrusted) = trusted_file::check_program(&program) {
            fault = Some(untrusted.to_string());
        }
        let command = Command {
            id,
            run,
            arguments: entry.args.into_iter().map(|(name, kind)| (name, kind.0)).collect(),
            timeout: entry.timeout.0,
            grace: entry.grace.0,
            output_limit: entry.output_limit.0,
            cwd: entry
                .cwd
                .map_or_else(|| "/".to_owned(), |cwd| cwd.0.to_string_lossy().into_owned()),
            account,
            env: entry.env,
            answer: if entry.answer.is_before() { Answering::Before } else { Answering::After },
            max_age: entry.max_age.map(|age| age.0),
            no_new_privileges: entry.no_new_privileges,
            description: entry.description,
            fault,
        };
        self.check_placeholders(&entry.run, &command);
        Some(command)
    }

    fn check_placeholders<T>(&mut self, run: &Spanned<T>, command: &Command) {
        let names = command.placeholders();
        for name in &names {
            if !command.arguments.contains_key(*name) {
                let what = format!("{{{name}}} has no type");
                self.fault(run, &what, &format!("add it to [command.{}.args]", command.id));
            }
        }
        for name in command.arguments.keys() {
            if !names.contains(&name.as_str()) {
                let what = format!("argument {name} stands nowhere in run");
                self.fault(run, &what, &format!("write {{{name}}} in run, or take it out of args"));
            }
        }
    }

    fn keyring(
        &mut self,
        entries: BTreeMap<Spanned<String>, KeyEntry>,
        commands: &[String],
    ) -> Keyring {
        let mut keyring = Keyring::default();
        for (name, entry) in entries {
            let Some(id) = self.id(&name) else { continue };
            let allow = self.allow(&entry, commands);
            let Some(lock) = self.lock(&name, &entry) else { continue };
            let key = Key {
                id,
                lock,
                answer_to: entry.answer_to.0.to_string(),
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
            return BUILT_IN.iter().take(4).filter_map(|name| Id::new(name)).collect();
        };
        let mut ids = Vec::new();
        for name in allow {
            match Id::new(name.get_ref()) {
                Some(id)
                    if BUILT_IN.contains(&id.as_str()) || commands.contains(name.get_ref()) =>
                {
                    ids.push(id);
                }
                _ => {
                    let what = format!("allow names {:?}, which is no command", name.get_ref());
                    self.fault(name, &what, "add a [command.X] for it, or take it out");
                }
            }
        }
        ids
    }

    fn lock(&mut self, name: &Spanned<String>, entry: &KeyEntry) -> Option<Lock> {
        match (&entry.public, &entry.secret_file) {
            (Some(public), None) => Some(Lock::Ed25519(public.0)),
            (None, Some(file)) => {
                let path = self.path.parent().unwrap_or(Path::new("/")).join(file.get_ref());
                let octets = self.read(Some(file), &path)?;
                match secret(&octets) {
                    Some(secret) => Some(Lock::Hmac(secret)),
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

    fn answer(
        &mut self,
        entry: AnswerEntry,
        host: Option<&String>,
    ) -> Option<(Letterhead, Transport)> {
        let path = entry.signing_key.get_ref().0.clone();
        let octets = self.read(Some(&entry.signing_key), &path);
        let key = octets.and_then(|octets| {
            let text = Zeroizing::new(String::from_utf8(octets.to_vec()).unwrap_or_default());
            match openssh::private_key(&text) {
                Ok(key) => Some(key),
                Err(why) => {
                    let what = format!("{}: {why}", path.display());
                    self.fault(&entry.signing_key, &what, "make it with netsysrq-mail init");
                    None
                }
            }
        });
        let transport = self.transport(&entry);
        let letterhead =
            Letterhead { from: entry.from.0, host: host?.clone(), key: Seal::Ed25519(key?) };
        Some((letterhead, transport?))
    }

    fn transport(&mut self, entry: &AnswerEntry) -> Option<Transport> {
        match entry.transport.get_ref() {
            TransportName::Sendmail => {
                let path = entry
                    .sendmail
                    .as_ref()
                    .map_or("/usr/sbin/sendmail".into(), |s| s.path.0.clone());
                match trusted_file::check_program(&path) {
                    Ok(()) => Some(Transport::Sendmail(path)),
                    Err(fault) => {
                        self.untrusted(&entry.transport, &fault);
                        None
                    }
                }
            }
            TransportName::File => {
                let Some(file) = &entry.file else {
                    let mend = "add [answer.file] with a directory";
                    self.fault(&entry.transport, "transport = \"file\" needs a directory", mend);
                    return None;
                };
                let directory = file.directory.get_ref().0.clone();
                if let Err(error) = mailer::check_directory(&directory) {
                    let what = format!("{}: {error}", directory.display());
                    self.fault(&file.directory, &what, "make the directory");
                    return None;
                }
                Some(Transport::File(directory))
            }
            TransportName::Smtp => self.smtp(entry).map(Transport::Smtp),
        }
    }

    fn smtp(&mut self, entry: &AnswerEntry) -> Option<Smtp> {
        let Some(smtp) = &entry.smtp else {
            self.fault(
                &entry.transport,
                "transport = \"smtp\" needs a host",
                "add [answer.smtp] with a host",
            );
            return None;
        };
        let tls = smtp.tls.get_ref().is_required();
        if tls && !cfg!(feature = "smtp-tls") {
            let mend = "build with --features smtp-tls, or use transport = \"sendmail\"";
            self.fault(&smtp.tls, "this build has no TLS", mend);
            return None;
        }
        let loopback = smtp.host == "localhost"
            || smtp.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let credentials = match (&smtp.user, &smtp.password_file) {
            (None, None) => None,
            (Some(user), Some(file)) => {
                if !tls && !loopback {
                    self.fault(
                        file,
                        "a password in clear over the network",
                        "set tls = \"required\"",
                    );
                    return None;
                }
                let path = self.path.parent().unwrap_or(Path::new("/")).join(file.get_ref());
                let octets = self.read(Some(file), &path)?;
                let text =
                    String::from_utf8_lossy(&octets).trim_end_matches(['\r', '\n']).to_owned();
                Some((user.clone(), Zeroizing::new(text)))
            }
            _ => {
                self.fault(
                    &entry.transport,
                    "user and password_file go together",
                    "give both or none",
                );
                return None;
            }
        };
        Some(Smtp { host: smtp.host.clone(), port: smtp.port, tls, credentials })
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

    fn id(&mut self, name: &Spanned<String>) -> Option<Id> {
        let id = Id::new(name.get_ref());
        if id.is_none() {
            let what = format!("{:?} is no id", name.get_ref());
            self.fault(name, &what, "use a-z, 0-9 and -, a letter first, 32 at most");
        }
        id
    }

    fn read<T>(&mut self, at: Option<&Spanned<T>>, path: &Path) -> Option<Zeroizing<Vec<u8>>> {
        match (trusted_file::read(path, Purpose::Secret), at) {
            (Ok(octets), _) => Some(octets),
            (Err(fault), Some(at)) => {
                self.untrusted(at, &fault);
                None
            }
            (Err(_), None) => None,
        }
    }

    fn untrusted<T>(&mut self, at: &Spanned<T>, fault: &Untrusted) {
        let line = Some(line_of(self.text, at.span().start));
        self.faults.push(untrusted(self.path, line, fault));
    }

    fn fault<T>(&mut self, at: &Spanned<T>, what: &str, mend: &str) {
        self.faults.push(Fault {
            path: self.path.to_owned(),
            line: Some(line_of(self.text, at.span().start)),
            what: what.to_owned(),
            mend: mend.to_owned(),
        });
    }
}

fn untrusted(path: &Path, line: Option<usize>, fault: &Untrusted) -> Fault {
    let what = if fault.path == path {
        fault.why.clone()
    } else {
        format!("{}: {}", fault.path.display(), fault.why)
    };
    Fault { path: path.to_owned(), line, what, mend: fault.mend.clone() }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|c| *c == b'\n').count().saturating_add(1)
}

/// Whose rights a command takes on; why not, if it cannot.
fn account(user: &str) -> Result<crate::protocol::command::Account, String> {
    let account = accounts::find(user).ok_or_else(|| format!("there is no user {user}"))?;
    let own = geteuid();
    if own.is_root() || own.as_raw() == account.uid {
        return Ok(account);
    }
    Err(format!("only root can run it as {user}"))
}

/// The octets of a secret file: base64 on one line, 32 octets or more.
#[must_use]
pub fn secret(file: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    use base64ct::{Base64, Encoding};
    let text = std::str::from_utf8(file).ok()?.trim_ascii();
    let octets = Zeroizing::new(Base64::decode_vec(text).ok()?);
    (octets.len() >= 32).then_some(octets)
}
