//! The machine that a client writes on, and what becomes of its letters there.

use std::fs;

use super::letters::{Filling, Letter};
use super::{ADDRESS, Client, KEPT};
use crate::host::Host;
use crate::machine::Machine;
use crate::outcomes::mail;
use crate::ways::{postfix, send_by_smtp};

/// Where the drivers are.
const DRIVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail/clients/drivers");
/// Where they are in the machine.
const INSTALLED: &str = "/usr/local/lib/clients";

/// An address of our own, and a person's desk.
pub(super) struct Desk<'a> {
    client: &'a Client,
    machine: &'a Machine,
    pub(super) host: Host<'a>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(client: &'a Client, machine: &'a Machine) -> Self {
        let host = Host::set_up(machine, "netsysrq", &["/bin/true"]);
        host.tell_requests_apart();
        postfix::lay_out(machine);
        let forward = "/home/netsysrq/.forward";
        machine.write(
            forward,
            b"\"|/usr/bin/netsysrq-mail deliver --profile mta\"\n/home/netsysrq/arrived\n",
        );
        machine.shell(&format!("chown netsysrq: {forward}"));
        for driver in fs::read_dir(DRIVERS).unwrap().map(|entry| entry.unwrap().path()) {
            let name = driver.file_name().unwrap().to_str().unwrap();
            machine.write(&format!("{INSTALLED}/{name}"), &fs::read(&driver).unwrap());
        }
        machine.shell(&format!("chmod 755 {INSTALLED}/*"));
        postfix::start(machine);
        Self { client, machine, host }
    }

    /// The text of a request that has been run and answered, and what tells it from others.
    pub(super) fn spend(&self) -> (String, String) {
        let text = self.host.sign(&["mark"]);
        send_by_smtp(self.machine, "alice@mx.example.net", &[ADDRESS], mail(&text).as_bytes());
        self.host.await_answers(1);
        (text, self.host.runs().remove(0))
    }

    /// Has the client write letters.
    pub(super) fn write(&self, letters: &[Letter], fillings: &[Filling]) {
        let directory = |number: usize| format!("/home/alice/{number}");
        for (number, (letter, filling)) in letters.iter().zip(fillings).enumerate() {
            for (name, text) in letter.files(filling) {
                self.machine.write(&format!("{}/{name}", directory(number)), text.as_bytes());
            }
        }
        self.machine.shell("chown -R alice: /home/alice");
        for (number, letter) in letters.iter().enumerate() {
            self.write_one(&directory(number), letter);
        }
    }

    fn write_one(&self, directory: &str, letter: &Letter) {
        let (driver, arguments) = self.client.driver.split_first().unwrap();
        let driver = format!("{INSTALLED}/{driver}");
        let mut argv = vec!["env", "-C", directory, "LC_ALL=C.UTF-8", &driver];
        argv.extend(arguments);
        argv.push(letter.style());
        let mut ran = self.machine.run_as("alice", &argv, b"");
        if ran.status != 0 {
            // one time in some hundreds alpine hangs in a letter, with half a screen drawn
            eprintln!("{} tries again: {ran:?}", letter.name());
            ran = self.machine.run_as("alice", &argv, b"");
        }
        assert_eq!(ran.status, 0, "{}: {ran:?}", letter.name());
    }

    /// Leaves the mails as they arrived.
    pub(super) fn keep(&self) {
        fs::create_dir_all(KEPT).unwrap();
        let mails = format!("{KEPT}/{}.mbox", self.client.name);
        fs::copy(self.machine.path("/home/netsysrq/arrived"), mails).unwrap();
    }
}
