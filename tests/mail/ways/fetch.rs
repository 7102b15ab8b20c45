//! Programs that fetch mail from a server (Dovecot's IMAP over TLS) and hand it on.

use std::fs;
use std::io::Write;

use super::{Way, postfix};
use crate::machine::Machine;

/// The server: Postfix takes mail in and gives it to Dovecot, which keeps it apart from the machine's own mailboxes.
/// The examples name it, and know its users, as an administrator would write them.
const DOVECOT: &str = "protocols = imap lmtp
listen = 127.0.0.1
log_path = /var/log/fetched
ssl = required
ssl_cert = </etc/dovecot/server.crt
ssl_key = </etc/dovecot/server.key
mail_location = maildir:/srv/mail/%u
first_valid_uid = 8
auth_username_format = %Ln
passdb {
  driver = passwd-file
  args = scheme=PLAIN /etc/dovecot/users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/srv/mail/%u allow_all_users=yes
}
service imap-login {
  inet_listener imap {
    port = 0
  }
}
service lmtp {
  unix_listener /var/spool/postfix/private/provider {
    mode = 0666
  }
}
";

/// Starts the server, whose certificate the machine trusts, and tells both users their passwords.
fn start_server(machine: &Machine) {
    postfix::lay_out(machine);
    machine.write("/etc/dovecot/dovecot.conf", DOVECOT.as_bytes());
    machine.write(
        "/etc/dovecot/users",
        b"alice:{PLAIN}correct horse\nnetsysrq:{PLAIN}battery staple\n",
    );
    machine.shell(
        "echo 127.0.0.1 imap.example.net >>/etc/hosts
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=imap.example.net \
          -addext subjectAltName=DNS:imap.example.net -keyout /etc/dovecot/server.key -out /etc/dovecot/server.crt \
          2>/dev/null
        cat /etc/dovecot/server.crt >>/etc/ssl/certs/ca-certificates.crt
        ln -s /etc/dovecot/server.crt /etc/ssl/certs/$(openssl x509 -hash -noout -in /etc/dovecot/server.crt).0
        postconf -e mailbox_transport=lmtp:unix:private/provider
        mkdir -p /srv/mail
        chown mail: /srv/mail
        dovecot >/dev/null 2>&1",
    );
    for (user, password) in [("alice", "correct horse"), ("netsysrq", "battery staple")] {
        let text = format!("machine imap.example.net login {user} password \"{password}\"\n");
        put(machine, user, ".netrc", |path| machine.write(path, text.as_bytes()));
    }
    postfix::start(machine);
    machine.await_port(993);
}

/// Puts a file into a user's home, for nobody else to read.
fn put(machine: &Machine, user: &str, name: &str, write: impl FnOnce(&str)) {
    let path = format!("/home/{user}/{name}");
    write(&path);
    machine.shell(&format!("chmod 600 {path}; chown -R {user}: $(dirname {path})"));
}

/// Puts an example into its place in a user's home.
fn install(machine: &Machine, user: &str, example: &str, name: &str) {
    put(machine, user, name, |path| machine.install_example(example, path));
}

/// The command that restarts a fetcher, as its user.
const RESTART: &str = "/usr/local/sbin/restart-fetcher";

fn install_restart(machine: &Machine, user: &str, commands: &str) {
    machine
        .write(RESTART, format!("#!/bin/sh\nexec runuser -l {user} -c '{commands}'\n").as_bytes());
    machine.shell(&format!("chmod 755 {RESTART}"));
}

/// Has a fetcher look once, and says whether mail waits on the server, or on its way there.
fn holds_mail(machine: &Machine, user: &str, fetch: &[&str]) -> bool {
    let ran = machine.run_as(user, fetch, b"");
    let log = fs::OpenOptions::new().append(true).open(machine.path("/var/log/fetched"));
    writeln!(log.unwrap(), "{fetch:?}: {ran:?}").unwrap();
    // in this order: between the two, mail only leaves the queue for the server
    postfix::holds_mail(machine)
        || ["new", "cur"].iter().any(|part| {
            let mails = fs::read_dir(machine.path(&format!("/srv/mail/{user}/{part}")));
            mails.is_ok_and(|mut mails| mails.next().is_some())
        })
}

const LAYERS: &[&str] = &["postfix", "common"];

const FDM_FETCH: &[&str] = &["fdm", "fetch"];

pub(crate) const FDM: Way = Way {
    name: "fdm",
    layers: LAYERS,
    user: "alice",
    set_up: |machine| {
        start_server(machine);
        install(machine, "alice", "fdm.conf", ".fdm.conf");
        install_restart(machine, "alice", "pkill -x fdm; fdm fetch");
    },
    holds_mail: |machine| holds_mail(machine, "alice", FDM_FETCH),
    restart: &[RESTART],
};

/// Starts fetchmail, or wakes it: it polls at once, in the background.
const FETCHMAIL_FETCH: &[&str] = &["fetchmail"];

fn set_up_fetchmail(machine: &Machine, user: &str, example: &str) {
    start_server(machine);
    install(machine, user, example, ".fetchmailrc");
    install_restart(machine, user, "fetchmail --quit; fetchmail");
}

pub(crate) const FETCHMAIL_TO_PROCMAIL: Way = Way {
    name: "fetchmail to procmail",
    set_up: |machine| {
        set_up_fetchmail(machine, "alice", "fetchmail/procmail");
        install(machine, "alice", "procmailrc", ".procmailrc");
    },
    holds_mail: |machine| holds_mail(machine, "alice", FETCHMAIL_FETCH),
    ..FDM
};

pub(crate) const FETCHMAIL: Way = Way {
    name: "fetchmail",
    layers: LAYERS,
    user: "netsysrq",
    set_up: |machine| set_up_fetchmail(machine, "netsysrq", "fetchmail/own-mailbox"),
    holds_mail: |machine| holds_mail(machine, "netsysrq", FETCHMAIL_FETCH),
    restart: &[RESTART],
};

const GETMAIL_FETCH: &[&str] = &["getmail"];

fn set_up_getmail(machine: &Machine, user: &str, example: &str) {
    start_server(machine);
    machine.shell(&format!("install -d -o {user} -g {user} -m 700 /home/{user}/.config/getmail"));
    install(machine, user, example, ".config/getmail/getmailrc");
    install_restart(machine, user, "pkill -x getmail; getmail");
}

pub(crate) const GETMAIL_TO_PROCMAIL: Way = Way {
    name: "getmail to procmail",
    set_up: |machine| {
        set_up_getmail(machine, "alice", "getmail/procmail");
        install(machine, "alice", "procmailrc", ".procmailrc");
    },
    holds_mail: |machine| holds_mail(machine, "alice", GETMAIL_FETCH),
    ..FDM
};

pub(crate) const GETMAIL: Way = Way {
    name: "getmail",
    set_up: |machine| set_up_getmail(machine, "netsysrq", "getmail/own-mailbox"),
    holds_mail: |machine| holds_mail(machine, "netsysrq", GETMAIL_FETCH),
    ..FETCHMAIL
};
