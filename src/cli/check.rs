//! `check`: what is wrong with this installation, and how to mend it.

use std::path::Path;

use serde_json::json;

use super::say;
use crate::config::{self, Configuration, Fault};
use crate::exit::Tool;
use crate::protocol::command::{Answering, Word};
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
    let path = config.path.as_path();
    if let Err(error) = FileSpool::open(&config.state).and_then(|spool| spool.ledger().map(drop)) {
        findings.error(path, &error.to_string(), "until then every request is deferred");
    }
    for command in config.policy.commands.values() {
        if let Some(fault) = &command.fault {
            let what = format!("[command.{}] cannot be run: {fault}", command.id);
            findings.error(path, &what, "until then its requests are answered as unavailable");
        }
        if !Path::new(&command.cwd).is_dir() {
            let what = format!("cwd of [command.{}], {}, is no directory", command.id, command.cwd);
            findings.error(path, &what, "make it");
        }
        if command.answer == Answering::After && ends_the_machine(&command.run) {
            let what =
                format!("[command.{}] may end the machine before it is answered", command.id);
            findings.note(path, &what, "set answer = \"before\"");
        }
    }
    if config.keyring.keys().next().is_none() {
        findings.note(path, "there is no key, so nobody can ask for anything", "add a [key.X]");
    }
    for key in config.keyring.keys() {
        if key.allow.is_empty() && key.sysrq.is_empty() {
            let what = format!("[key.{}] may ask for nothing", key.id);
            findings.note(path, &what, "name commands in allow");
        }
    }
}

fn ends_the_machine(run: &[Word]) -> bool {
    let words: Vec<&str> = run
        .iter()
        .filter_map(|word| match word {
            Word::Literal(text) => Some(text.as_str()),
            Word::Placeholder(_) => None,
        })
        .collect();
    let ends = ["poweroff", "reboot", "shutdown", "halt", "kexec"];
    let program = words.first().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    ends.contains(&program)
        || (program == "systemctl" && words.iter().any(|word| ends.contains(word)))
}
