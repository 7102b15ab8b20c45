//! `check`: what is wrong with this installation, and how to mend it.

use std::path::Path;

use serde_json::json;

use super::output::say;
use crate::config::{self, Configuration, Fault};
use crate::exit::Tool;
use crate::protocol::id::Id;
use crate::protocol::rules::built_in::BuiltIn;
use crate::protocol::rules::command::{Answering, Command, Word};
use crate::protocol::rules::keyring::Key;
use crate::protocol::rules::sysrq::Sequence;
use crate::system::clock;
use crate::system::spool::FileSpool;

/// Looks, prints, and changes nothing.
pub(super) fn run(config: Option<&Path>, json: bool) -> Result<Tool, String> {
    let path = config::path(config);
    let mut findings = Findings { json, wrong: false };
    match config::load(&path) {
        Ok(config) => installation(&config, &mut findings),
        Err(faults) => faults.iter().for_each(|fault| findings.fault(fault)),
    }
    if findings.wrong {
        return Ok(Tool::No);
    }
    findings.say("note", &path, None, "nothing is wrong", "");
    Ok(Tool::Yes)
}

struct Findings {
    json: bool,
    wrong: bool,
}

impl Findings {
    fn fault(&mut self, fault: &Fault) {
        self.wrong = true;
        self.say("error", &fault.path, fault.line, &fault.what, &fault.mend);
    }

    fn error(&mut self, path: &Path, what: &str, mend: &str) {
        self.wrong = true;
        self.say("error", path, None, what, mend);
    }

    fn note(&self, path: &Path, what: &str, mend: &str) {
        self.say("note", path, None, what, mend);
    }

    fn say(&self, kind: &str, path: &Path, line: Option<usize>, what: &str, mend: &str) {
        if self.json {
            let finding = json!({
                "kind": kind, "file": path, "line": line, "what": what, "mend": mend,
            });
            return say(&format!("{finding}\n"));
        }
        let line = line.map(|line| format!("{line}:")).unwrap_or_default();
        let mend = if mend.is_empty() { String::new() } else { format!("; {mend}") };
        say(&format!("{kind}: {}:{line} {what}{mend}\n", path.display()));
    }
}

fn installation(config: &Configuration, findings: &mut Findings) {
    let revoked = check_spool(config, findings);
    for command in config.policy.commands.values() {
        check_command(command, &config.path, findings);
    }
    if config.keyring.keys().next().is_none() {
        let what = "there is no key, so nobody can ask for anything";
        findings.note(&config.path, what, "add a [key.X]");
    }
    for key in config.keyring.keys() {
        check_key(key, config, &revoked, findings);
    }
}

/// Returns the keys that a request has revoked.
fn check_spool(config: &Configuration, findings: &mut Findings) -> Vec<Id> {
    let until_then = "until then every request is deferred";
    match FileSpool::open(&config.state).map(|spool| (spool.ledger(), spool.faults())) {
        Err(error) => findings.error(&config.path, &error.to_string(), until_then),
        Ok((ledger, faults)) => {
            for (path, what, mend) in &faults {
                findings.error(path, what, mend);
            }
            match ledger {
                Ok(ledger) => return ledger.revoked,
                Err(error) if faults.is_empty() => {
                    findings.error(&config.path, &error.to_string(), until_then);
                }
                Err(_) => {}
            }
        }
    }
    Vec::new()
}

fn check_command(command: &Command, path: &Path, findings: &mut Findings) {
    let id = &command.id;
    if let Some(fault) = &command.fault {
        let what = format!("[command.{id}] cannot be run: {fault}");
        findings.error(path, &what, "until then its requests are answered as unavailable");
    }
    if !Path::new(&command.cwd).is_dir() {
        let what = format!("cwd of [command.{id}], {}, is not a directory", command.cwd);
        findings.error(path, &what, "make it");
    }
    if command.answer == Answering::After && ends_the_machine(&command.run) {
        let what = format!("[command.{id}] may end the machine before it is answered");
        findings.note(path, &what, "set answer = \"before\"");
    }
}

fn check_key(key: &Key, config: &Configuration, revoked: &[Id], findings: &Findings) {
    let note = |what: &str, mend: &str| {
        findings.note(&config.path, &format!("[key.{}] {what}", key.id), mend);
    };
    if key.allow.is_empty() && key.sysrq.is_empty() {
        note("may ask for nothing", "name commands in allow");
    }
    if key.per_hour == 0 {
        note("may ask for nothing: per_hour = 0", "let it ask a few times an hour");
    }
    if let Some(end) = key.not_after.filter(|end| *end <= clock::now()) {
        note(&format!("was good until {end}"), "remove not_after, or the key");
    }
    if key.revoked {
        note("is revoked", "remove revoked = true, or the key");
    }
    if revoked.contains(&key.id) {
        let file = config.state.join("revoked").join(key.id.as_str());
        note(
            "was revoked by a request",
            &format!("remove {} to lift the revocation", file.display()),
        );
    }
    let presses = !key.sysrq.is_empty() || key.allow.iter().any(presses_keys);
    if let (true, Some(fault)) = (presses, &config.policy.sysrq_fault) {
        let mend =
            "pressing keys takes root: run the filter as root, or allow a command that runs sudo";
        note(&format!("may press SysRq keys, which cannot be done here: {fault}"), mend);
    }
    let signals = key.sysrq.iter().any(Sequence::signals);
    if let (true, Some(fault)) = (signals, &config.policy.signal_fault) {
        let mend = "run the filter as root, outside of containers, or remove these sequences";
        note(&format!("may press SysRq keys that cannot be pressed here: {fault}"), mend);
    }
}

fn presses_keys(id: &Id) -> bool {
    BuiltIn::parse(id.as_str()).is_some_and(|built_in| built_in.sequence().is_some())
}

fn ends_the_machine(run: &[Word]) -> bool {
    let names = run.iter().filter_map(|word| match word {
        Word::Literal(text) => text.rsplit('/').next(),
        Word::Placeholder(_) => None,
    });
    let names: Vec<&str> = names.collect();
    let ends = |name: &&str| matches!(*name, "poweroff" | "reboot" | "shutdown" | "halt" | "kexec");
    let passes_on = ["systemctl", "sudo", "doas", "env", "nice", "systemd-run"];
    let is_passed_on = names.first().is_some_and(|name| passes_on.contains(name));
    names.iter().take(if is_passed_on { names.len() } else { 1 }).any(ends)
}
