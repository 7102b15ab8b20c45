//! What the tests of this suite share: a site that counts its runs, and a request that is followed through the spool.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use netsysrq_mail::protocol::cose::{Envelope, REQUEST_AAD};
use netsysrq_mail::protocol::id::Id;
use netsysrq_mail::protocol::job::{Name, State};
use netsysrq_mail::protocol::journal;
use netsysrq_mail::protocol::message::Candidate;
use netsysrq_mail::protocol::record::Record;
use netsysrq_mail::protocol::request::Request;
use netsysrq_mail::protocol::time::Time;

use crate::support::{Site, message, waiting_for, write_script};

pub(crate) const DELIVER: [&str; 5] = ["deliver", "--verbose", "--wait", "--profile", "mailbox"];

/// A site whose commands write down the nonce of whoever ran them into `runs`; `slow` waits until `go` is there.
pub(crate) fn site() -> Site {
    let site = Site::new();
    let (root, wait) = (site.root().display().to_string(), waiting_for(&site.path("go")));
    site.configure(
        r#"allow     = ["ping", "help","#,
        r#"per_hour  = 1000000
allow     = ["count", "large", "slow", "soon", "ping", "help","#,
    );
    let config = site.read("config.toml");
    site.write(
        "config.toml",
        &format!(
            r#"{config}
[sysrq]
trigger = "{root}/trigger"
kmsg    = "{root}/kmsg"
settle  = "0s"

[command.count]
run = ["/bin/sh", "-c", "echo $NETSYSRQ_CTI >>{root}/runs; echo counted"]

[command.large]
run          = ["/bin/sh", "-c", "echo $NETSYSRQ_CTI >>{root}/runs; head -c 200000 /dev/urandom"]
output_limit = "200KiB"

[command.slow]
run = ["/bin/sh", "-c", "echo begin >>{root}/turns; echo $NETSYSRQ_CTI >>{root}/runs; {wait}; echo end >>{root}/turns"]

[command.soon]
run    = ["/bin/sh", "-c", "echo $NETSYSRQ_CTI >>{root}/runs"]
answer = "before"
"#
        ),
    );
    site
}

/// A site that answers through a program; the file `mode` says how it behaves, `calls` how often it was called. One that
/// is `held` waits until `go` is there, and for some 20 seconds at most.
pub(crate) fn with_sendmail() -> Site {
    let site = site();
    let root = site.root().display().to_string();
    write_script(
        &site.path("sendmail"),
        &format!(
            r#"echo call >>{root}/calls
case $(cat {root}/mode) in
ok) cat >{root}/answers/$$.eml ;;
die) kill -9 $$ ;;
hang-once) echo ok >{root}/mode; exec sleep 90 ;;
slow) sleep 2; cat >{root}/answers/$$.eml ;;
held) for i in $(seq 1000); do [ ! -e {root}/go ] || break; sleep 0.02; done; cat >{root}/answers/$$.eml ;;
half) head -c 10 >/dev/null; exit 1 ;;
*) exit "$(cat {root}/mode)" ;;
esac"#
        ),
    );
    site.configure("transport   = \"file\"", "transport   = \"sendmail\"");
    site.configure(
        "[answer.file]",
        &format!("[answer.sendmail]\npath = \"{root}/sendmail\"\n\n[answer.file]"),
    );
    site
}

/// Has the spool believe that two clocks agreed on a time, in seconds since 1970.
pub(crate) fn write_seen(site: &Site, time: u64) {
    site.write("state/seen", &format!("{time:020} {time:020}\n"));
}

/// Whether the long run is wanted.
pub(crate) fn long() -> bool {
    std::env::var_os("NETSYSRQ_TEST_LONG").is_some()
}

/// A request by `alice`, and what the host will call it.
pub(crate) struct Asked {
    pub(crate) mail: String,
    pub(crate) name: Name,
    pub(crate) cose: Vec<u8>,
    pub(crate) issued: Time,
}

impl Asked {
    pub(crate) fn new(site: &Site, command: &[&str]) -> Self {
        Self::with(site, &[], command)
    }

    pub(crate) fn with(site: &Site, options: &[&str], command: &[&str]) -> Self {
        let mail = message(&site.sign(options, command));
        let found = Candidate::find(mail.as_bytes()).candidates.into_iter().next().unwrap();
        let cose = found.into_octets();
        let envelope = Envelope::open(&cose, REQUEST_AAD).unwrap();
        let request = Request::decode(envelope.unverified_payload()).unwrap();
        let key = Id::new(std::str::from_utf8(envelope.kid()).unwrap()).unwrap();
        let name = Name { hour: request.expires.hour(), key, cti: request.cti() };
        Self { mail, name, cose, issued: request.issued }
    }

    pub(crate) fn job(&self, site: &Site) -> PathBuf {
        site.path("state/spool").join(self.name.hour.to_string()).join(self.name.file())
    }

    /// What the journal says; nothing if there is none, or none that can be read.
    pub(crate) fn state(&self, site: &Site) -> Option<State> {
        let octets = fs::read(self.job(site)).ok()?;
        journal::read(&octets).ok().map(|(state, _)| state)
    }

    /// How often it was run.
    pub(crate) fn runs(&self, site: &Site) -> usize {
        site.read("runs").lines().filter(|cti| *cti == self.name.cti).count()
    }

    /// The mails about it in the directory for answers.
    pub(crate) fn answers(&self, site: &Site) -> Vec<String> {
        let about = format!(".{}.", self.name.cti);
        fs::read_dir(site.path("answers"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().contains(&about) && !path.ends_with(".tmp"))
            .map(|path| fs::read_to_string(path).unwrap())
            .collect()
    }

    /// The record that a delivery writes, at `at`, in this boot.
    pub(crate) fn claimed(&self, at: Time) -> Record {
        Record::Claimed {
            at,
            boot: boot(),
            verdict: "run".into(),
            why: String::new(),
            silent: false,
            message_id: None,
            cose: self.cose.clone(),
        }
    }

    /// Puts a journal into the spool, as runners that were killed would have left it.
    pub(crate) fn forge(&self, site: &Site, records: &[Record]) {
        let lines: String = records.iter().map(Record::to_line).collect();
        self.write(site, lines.as_bytes());
    }

    pub(crate) fn write(&self, site: &Site, octets: &[u8]) {
        let bucket = site.path("state/spool").join(self.name.hour.to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(bucket).unwrap();
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.job(site))
            .unwrap();
        file.write_all(octets).unwrap();
    }

    /// Makes the last vain try of its answer a minute and more older than it is.
    pub(crate) fn age_last_try(&self, site: &Site, age: Duration) {
        let text = fs::read_to_string(self.job(site)).unwrap();
        let (_, last) = self.state(site).unwrap().tried.expect("there was a try");
        let (new, old) = (Record::Tried { at: last.before(age) }, Record::Tried { at: last });
        assert!(text.ends_with(&old.to_line()), "{text}");
        let kept = &text[..text.len() - old.to_line().len()];
        self.write(site, format!("{kept}{}", new.to_line()).as_bytes());
    }
}

/// The boot id as the program reads it.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned()
}

/// Now, as this process sees it.
pub(crate) fn now() -> Time {
    SystemTime::now().into()
}

/// The Message-IDs of some mails, each once.
pub(crate) fn message_ids(mails: &[String]) -> Vec<String> {
    let id = |mail: &String| {
        mail.lines().find(|line| line.starts_with("Message-ID:")).unwrap().to_owned()
    };
    let mut ids: Vec<String> = mails.iter().map(id).collect();
    ids.sort();
    ids.dedup();
    ids
}
