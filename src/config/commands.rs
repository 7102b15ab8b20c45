//! The `[command.X]` tables.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::process::geteuid;
use toml::Spanned;

use super::entries::CommandEntry;
use super::reader::Reader;
use crate::protocol::id::Id;
use crate::protocol::rules::built_in::{BuiltIn, SYSRQ};
use crate::protocol::rules::command::{Account, Answering, Command, Word};
use crate::system::accounts;
use crate::system::trusted_file;

impl Reader<'_> {
    pub(super) fn commands(
        &mut self,
        entries: BTreeMap<Spanned<String>, CommandEntry>,
    ) -> BTreeMap<Id, Command> {
        let mut commands = BTreeMap::new();
        for (name, entry) in entries {
            let Some(id) = self.id(&name) else { continue };
            if BuiltIn::parse(id.as_str()).is_some() || id.as_str() == SYSRQ {
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
                self.fault(&entry.run, &what, "write the program's absolute path");
                return None;
            }
        };
        let (account, mut fault) = match account(entry.user.as_deref(), entry.group.as_deref()) {
            Ok(account) => (account, None),
            Err(fault) => (accounts::own(), Some(fault)),
        };
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
                let what = format!("argument {name} is not used in run");
                self.fault(run, &what, &format!("write {{{name}}} in run, or remove it from args"));
            }
        }
    }
}

/// The account whose rights a command takes on, or why it cannot.
fn account(user: Option<&str>, group: Option<&str>) -> Result<Account, String> {
    let own = geteuid();
    let mut account = match user {
        None => accounts::own(),
        Some(user) => accounts::find(user).ok_or_else(|| format!("there is no user {user}"))?,
    };
    if !own.is_root() && own.as_raw() != account.uid {
        return Err(format!("only root can run it as {}", account.name));
    }
    if let Some(group) = group {
        let gid =
            accounts::find_group(group).ok_or_else(|| format!("there is no group {group}"))?;
        if !own.is_root() && account.gid != gid {
            return Err(format!("only root can run it as group {group}"));
        }
        account.gid = gid;
        account.groups.push(gid);
    }
    Ok(account)
}
