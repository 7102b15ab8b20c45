//! Users and groups, from `/etc/passwd` and `/etc/group`: a static binary has no other name service, and an
//! emergency should not wait for a directory server. A number always works.

use std::fs;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::protocol::rules::command::Account;

/// The account with this name or number; `None` if the name is not found.
#[must_use]
pub fn find(user: &str) -> Option<Account> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    find_in(user, &passwd, &group)
}

/// The name of a user, or the number if there is no name.
#[must_use]
pub fn name_of(uid: u32) -> String {
    find(&uid.to_string()).map_or(uid.to_string(), |account| account.name)
}

/// Whether our effective rights allow this use of a file. Opens nothing.
///
/// # Errors
/// Why not.
pub fn may(path: &Path, rights: Access) -> Result<(), Errno> {
    accessat(CWD, path, rights, AtFlags::EACCESS)
}

/// The account that we run under.
#[must_use]
pub fn own() -> Account {
    let uid = geteuid().as_raw();
    find(&uid.to_string()).unwrap_or_else(|| unnamed(uid))
}

/// The number of the group with this name or number; `None` if the name is not found.
#[must_use]
pub fn find_group(group: &str) -> Option<u32> {
    let file = fs::read_to_string("/etc/group").unwrap_or_default();
    group.parse().ok().or_else(|| {
        file.lines().map(fields).find(|entry| entry.first() == Some(&group))?.get(2)?.parse().ok()
    })
}

fn find_in(user: &str, passwd: &str, group: &str) -> Option<Account> {
    let number: Option<u32> = user.parse().ok();
    let entry = passwd.lines().map(fields).find_map(|entry| {
        let [name, _, uid, gid, _, home, shell] = entry.as_slice() else { return None };
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        let this = number.map_or(*name == user, |number| number == uid);
        this.then(|| Account {
            name: (*name).to_owned(),
            uid,
            gid,
            groups: groups_of(name, gid, group),
            home: (*home).to_owned(),
            shell: if shell.is_empty() { "/bin/sh" } else { shell }.to_owned(),
        })
    });
    entry.or_else(|| number.map(unnamed))
}

fn unnamed(uid: u32) -> Account {
    Account {
        name: uid.to_string(),
        uid,
        gid: uid,
        groups: vec![uid],
        home: "/".to_owned(),
        shell: "/bin/sh".to_owned(),
    }
}

fn groups_of(name: &str, primary: u32, group: &str) -> Vec<u32> {
    let mut groups = vec![primary];
    for entry in group.lines().map(fields) {
        if let [_, _, gid, members] = entry.as_slice()
            && members.split(',').any(|member| member == name)
            && let Ok(gid) = gid.parse()
            && !groups.contains(&gid)
        {
            groups.push(gid);
        }
    }
    groups
}

fn fields(line: &str) -> Vec<&str> {
    line.split(':').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000:A,,,:/home/alice:\nbroken:x:a\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:bob,alice\nalice:x:1000:alice\n";

    #[test]
    fn an_account_is_found_by_name_and_by_number() {
        let alice = find_in("alice", PASSWD, GROUP).unwrap();
        assert_eq!((alice.uid, alice.gid, alice.groups.as_slice()), (1000, 1000, &[1000, 4][..]));
        assert_eq!((alice.home.as_str(), alice.shell.as_str()), ("/home/alice", "/bin/sh"));
        assert_eq!(find_in("1000", PASSWD, GROUP), Some(alice));
    }

    #[test]
    fn a_number_needs_no_entry_and_a_name_does() {
        assert_eq!(find_in("4711", PASSWD, GROUP).unwrap().groups, [4711]);
        assert_eq!(find_in("bob", PASSWD, GROUP), None);
        assert_eq!(find_in("broken", PASSWD, GROUP), None);
    }
}
