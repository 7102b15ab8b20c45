//! The two sentences of the program. Everything else says what their words mean.

use std::io;

use crate::protocol::claim::{Claimed, Spool};
use crate::protocol::job::journal::Journal;
use crate::protocol::job::letter::Letterhead;
use crate::protocol::job::outcome::End;
use crate::protocol::job::outcome::Summary;
use crate::protocol::refusal::Stop;
use crate::protocol::rules::keyring::Keyring;
use crate::protocol::rules::policy::{Ledger, Policy};
use crate::protocol::take::{Host, Job, Turn, Unsent};
use crate::protocol::verify::Verified;
use crate::protocol::wire::message::Candidate;

/// The delivery: out of octets that anybody may have sent, a request whose nonce is spent.
///
/// `open` is told of a verified request, whatever becomes of it, and returns the spool and its ledger.
///
/// # Errors
/// [`Stop`]: nothing was claimed.
pub fn accept<S: Spool>(
    candidate: Candidate,
    keyring: &Keyring,
    policy: &Policy,
    message_id: Option<String>,
    open: impl FnOnce(&Verified<'_>) -> io::Result<(S, Ledger)>,
) -> Result<Claimed<S::Journal>, Stop> {
    let verified = candidate.verify(keyring)?;
    let (mut spool, ledger) = open(&verified)?;
    verified.judge(policy, &ledger)?.claim(&mut spool, message_id)
}

/// The runner, and whoever resumes for it: out of a job under its lock, an answer handed over. `told` is called
/// with what became of it, once that is on the disk.
///
/// # Errors
/// When a step cannot be made durable, or the answer was not taken: the job is left for the next to resume.
pub fn conclude<J: Journal>(
    job: Job<'_, J>,
    letterhead: &Letterhead,
    host: &mut impl Host,
    told: impl FnOnce(&Summary),
) -> io::Result<Left> {
    let settled = match job {
        Job::Done => return Ok(Left::Before),
        Job::Lost(lost, why) => return lost.close(&host.here()).map(|()| Left::Lost(why)),
        Job::Unsent(unsent) => return answer(unsent, host),
        Job::Settled(settled) => settled,
        Job::Ready(ready) => match ready.queue(host)? {
            Turn::Come(ready) => ready.announce(letterhead, host)?.start(host.here())?.run(host),
            Turn::Missed(settled) => settled,
        },
    };
    let summary = settled.summary();
    let unsent = settled.finish(letterhead, &host.here())?;
    told(&summary);
    answer(unsent, host)
}

fn answer<J: Journal>(unsent: Unsent<J>, host: &mut impl Host) -> io::Result<Left> {
    let left = if unsent.is_silent() { Left::Silent } else { Left::Answered };
    unsent.answer(host).map(left)
}

/// How a runner left a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Its answer was handed over.
    Answered(End),
    /// It had ended before.
    Before,
    /// Nobody can be answered, and why.
    Lost(String),
    /// It has ended, and nobody is answered: its key was told within the last hour that it asks too often.
    Silent(End),
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::rc::Rc;
    use std::time::Duration;

    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::protocol::claim::Spent;
    use crate::protocol::id::Id;
    use crate::protocol::job::name::Name;
    use crate::protocol::job::outcome::Outcome;
    use crate::protocol::job::record::Record;
    use crate::protocol::job::state::Answer;
    use crate::protocol::job::state::State;
    use crate::protocol::rules::allowance::Admission;
    use crate::protocol::rules::command::{Account, Answering, Command, Word};
    use crate::protocol::rules::keyring::Key;
    use crate::protocol::rules::sysrq::Sequence;
    use crate::protocol::rules::verdict::Deed;
    use crate::protocol::take::{Letter, Locked, Prepared};
    use crate::protocol::time::Here;
    use crate::protocol::time::Time;
    use crate::protocol::wire::cose::{self, Seal, Verifier};
    use crate::protocol::wire::nonce::Nonce;
    use crate::protocol::wire::request::Request;

    const NOW: Time = Time::from_unix(1_763_665_351);

    /// Spool, journal and host in one: it writes down what is done to it, and fails where it is told to.
    #[derive(Clone, Debug, Default)]
    struct Diary {
        entries: Rc<RefCell<Vec<String>>>,
        journal: Rc<RefCell<Vec<Record>>>,
        fails_at: Option<&'static str>,
        boot: &'static str,
        is_last: bool,
    }

    impl Diary {
        fn enter(&self, entry: &str) -> io::Result<()> {
            self.entries.borrow_mut().push(entry.to_owned());
            if self.fails_at == Some(entry) {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        }

        fn read(&self) -> String {
            self.entries.borrow().join(" ")
        }

        fn state(&self) -> State {
            let mut records = self.journal.borrow().clone().into_iter();
            let state = State::new(records.next().unwrap()).unwrap();
            records.try_fold(state, State::after).unwrap()
        }
    }

    impl Journal for Diary {
        fn append(&mut self, record: &Record) -> io::Result<()> {
            let line = record.to_line();
            self.enter(line.split(' ').nth(2).unwrap())?;
            self.journal.borrow_mut().push(record.clone());
            Ok(())
        }

        fn hasten(&mut self) {
            self.entries.borrow_mut().push("hasten".to_owned());
        }
    }

    impl Spool for Diary {
        type Journal = Self;

        fn recall(&mut self, _: &Name) -> io::Result<bool> {
            self.enter("recall").map(|()| false)
        }

        fn admit(&mut self, _: &Key) -> io::Result<Admission> {
            self.enter("admit").map(|()| Admission::Within)
        }

        fn spend(&mut self, _: &Name, claim: &Record, _: Time) -> io::Result<Spent<Self>> {
            self.enter("spend")?;
            self.journal.borrow_mut().push(claim.clone());
            Ok(Spent::First(self.clone()))
        }

        fn here(&self) -> Here {
            Here { now: NOW, boot: self.boot.into(), booted: NOW }
        }
    }

    impl Host for Diary {
        fn here(&self) -> Here {
            Spool::here(self)
        }

        fn queue(&mut self, _: &Deed<'_>) -> io::Result<()> {
            self.enter("queue")
        }

        fn prepare(&mut self, _: &Deed<'_>) -> Result<Prepared, String> {
            let prepared = Prepared { is_last: self.is_last, remark: None };
            self.enter("prepare").map(|()| prepared).map_err(|error| error.to_string())
        }

        fn perform(&mut self, deed: &Deed<'_>, _: &Key, _: &Request) -> Outcome {
            let entry = match deed {
                Deed::Run { argv, .. } => format!("run:{}", argv.join(",")),
                Deed::Press(sequence) => format!("press:{sequence}"),
                Deed::Last(_) | Deed::Revoke(_) => "spool".to_owned(),
            };
            self.enter(&entry).unwrap();
            Outcome::bare(End::Exited(0))
        }

        fn hand_over(&mut self, letter: &Letter<'_>) -> io::Result<()> {
            self.enter(&format!("send:{}", letter.stage.word()))
        }
    }

    struct Site {
        keyring: Keyring,
        policy: Policy,
        letterhead: Letterhead,
        signer: Seal,
    }

    fn site(answer: Answering) -> Site {
        let (alice, host) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let id = |name| Id::new(name).unwrap();
        let account = Account {
            name: "nobody".into(),
            uid: 65534,
            gid: 65534,
            groups: vec![],
            home: "/".into(),
            shell: "/bin/sh".into(),
        };
        let command = Command {
            id: id("off"),
            run: vec![Word::Literal("/sbin/off".into())],
            arguments: BTreeMap::new(),
            timeout: Duration::from_secs(1),
            grace: Duration::from_secs(1),
            output_limit: 10,
            account,
            cwd: "/".into(),
            env: BTreeMap::new(),
            answer,
            max_age: None,
            no_new_privileges: true,
            description: None,
            fault: None,
        };
        let mut keyring = Keyring::default();
        keyring
            .add(Key {
                id: id("alice"),
                verifier: Verifier::Ed25519(alice.verifying_key()),
                answer_to: "alice@example.com".parse().unwrap(),
                allow: vec![id("off"), id("ping")],
                sysrq: vec![Sequence::parse("sub").unwrap(), Sequence::parse("mtw").unwrap()],
                max_ttl: Duration::from_secs(7200),
                per_hour: 60,
                not_before: None,
                not_after: None,
                revoked: false,
            })
            .unwrap();
        Site {
            keyring,
            policy: Policy {
                names: vec!["web1".into()],
                groups: vec![],
                skew: Duration::from_secs(300),
                sysrq_fault: None,
                signal_fault: None,
                commands: BTreeMap::from([(id("off"), command)]),
            },
            letterhead: Letterhead {
                from: "netsysrq@web1.example.com".parse().unwrap(),
                host: "web1".into(),
                key: Seal::Ed25519(host),
            },
            signer: Seal::Ed25519(alice),
        }
    }

    fn candidate(signer: &Seal, command: &str) -> Candidate {
        let request = Request {
            audience: "web1".into(),
            issued: NOW,
            expires: NOW.after(Duration::from_secs(3600)),
            nonce: Nonce::new(vec![7; 16]).unwrap(),
            command: command.split(' ').map(Into::into).collect(),
            dry: false,
        };
        let payload = request.encode().unwrap();
        Candidate::from_job(cose::seal(payload, b"alice", cose::REQUEST_AAD, signer).unwrap())
    }

    /// The job of every candidate here.
    fn name() -> Name {
        let hour = NOW.after(Duration::from_secs(3600)).hour();
        Name::new(hour, Id::new("alice").unwrap(), Nonce::new(vec![7; 16]).unwrap())
    }

    /// Delivers, and runs what was claimed.
    fn tell(site: &Site, command: &str, fails_at: Option<&'static str>) -> Diary {
        tell_into(Diary { fails_at, ..Diary::default() }, site, command)
    }

    fn tell_into(diary: Diary, site: &Site, command: &str) -> Diary {
        let ledger = Ledger { now: NOW, ..Ledger::default() };
        let accepted =
            accept(candidate(&site.signer, command), &site.keyring, &site.policy, None, |_| {
                diary.enter("open").map(|()| (diary.clone(), ledger))
            });
        if let Ok(claimed) = accepted {
            let (name, journal) = claimed.into_job().unwrap();
            take_up(site, &diary, name, journal);
        }
        diary
    }

    fn take_up(site: &Site, diary: &Diary, name: Name, journal: Diary) {
        let here = Host::here(diary);
        let locked = Locked { name, journal, state: diary.state() };
        let ledger = Ledger::default();
        let job = Job::take(locked, &site.keyring, &site.policy, &ledger, &here);
        let _outcome = conclude(job, &site.letterhead, &mut diary.clone(), |_| {});
    }

    /// Claim and start before the command is run, its end before it is answered.
    #[test]
    fn each_step_is_written_down_before_the_next_one_begins() {
        let diary = tell(&site(Answering::After), "off", None);
        let expected = "open recall admit spend queue prepare running run:/sbin/off finished send:result answered";
        assert_eq!(diary.read(), expected);
    }

    #[test]
    fn what_ends_the_machine_is_announced_before_it_is_started() {
        let diary = tell(&site(Answering::Before), "off", None);
        let expected = "open recall admit spend queue prepare notice send:notice noticed running run:/sbin/off \
                        finished send:result answered";
        assert_eq!(diary.read(), expected);
    }

    #[test]
    fn only_keys_that_may_end_the_machine_are_announced() {
        let drastic = tell(&site(Answering::After), "sysrq sub", None);
        assert!(drastic.read().contains("notice send:notice noticed running press:sub"));
        let report = tell(&site(Answering::After), "sysrq mtw", None);
        assert!(
            report.read().starts_with("open recall admit spend queue prepare running press:mtw")
        );
        let unlisted = tell(&site(Answering::After), "sysrq b", None);
        assert_eq!(unlisted.read(), "open recall admit spend finished send:result answered");
    }

    #[test]
    fn a_machine_that_is_back_says_so_and_presses_nothing_again() {
        let site = site(Answering::After);
        let whole = tell(&site, "sysrq sub", None).journal.borrow().clone();
        let running = whole.iter().position(|r| matches!(r, Record::Running { .. })).unwrap();
        let diary = Diary { boot: "another boot", ..Diary::default() };
        *diary.journal.borrow_mut() = whole[..=running].to_vec();
        let name = name();
        take_up(&site, &diary, name, diary.clone());
        assert_eq!(diary.read(), "finished send:back answered");
    }

    #[test]
    fn a_denied_request_is_spent_and_answered_and_nothing_is_run() {
        let diary = tell(&site(Answering::After), "unheard-of", None);
        assert_eq!(diary.read(), "open recall admit spend finished send:result answered");
    }

    #[test]
    fn a_forgery_opens_nothing() {
        let site = site(Answering::After);
        let forger = Seal::Ed25519(SigningKey::from_bytes(&[3; 32]));
        let diary = tell(&Site { signer: forger, ..site }, "off", None);
        assert_eq!(diary.read(), "");
    }

    #[test]
    fn nothing_follows_a_step_that_could_not_be_written() {
        let site = site(Answering::Before);
        for (step, expected) in [
            ("open", "open"),
            ("recall", "open recall"),
            ("admit", "open recall admit"),
            ("spend", "open recall admit spend"),
            ("queue", "open recall admit spend queue"),
            ("notice", "open recall admit spend queue prepare notice"),
            ("noticed", "open recall admit spend queue prepare notice send:notice noticed"),
            ("running", "open recall admit spend queue prepare notice send:notice noticed running"),
        ] {
            assert_eq!(tell(&site, "off", Some(step)).read(), expected, "fails at {step}");
        }
    }

    /// After the keys there is another boot: what its journal lacks is not begun again in that.
    #[test]
    fn an_emergency_comes_whatever_its_journal_does() {
        let site = site(Answering::After);
        for fails_at in ["notice", "send:notice", "noticed", "running"] {
            let diary = Diary { fails_at: Some(fails_at), is_last: true, ..Diary::default() };
            let read = tell_into(diary, &site, "sysrq sub").read();
            let expected = "prepare hasten notice send:notice noticed running press:sub";
            assert!(read.contains(expected), "fails at {fails_at}: {read}");
        }
    }

    #[test]
    fn what_cannot_be_prepared_is_unavailable_and_not_announced() {
        let diary = tell(&site(Answering::After), "sysrq sub", Some("prepare"));
        let expected = "open recall admit spend queue prepare finished send:result answered";
        assert_eq!(diary.read(), expected);
        let told = diary.state().finished.unwrap();
        assert_eq!(told.end, End::Unrun);
        assert!(String::from_utf8(told.mail.unwrap()).unwrap().contains("unavailable"));
    }

    #[test]
    fn an_emergency_does_not_wait_for_a_notice_that_nobody_takes() {
        let diary = tell(&site(Answering::Before), "off", Some("send:notice"));
        assert!(diary.read().contains("send:notice noticed running run:/sbin/off"));
    }

    #[test]
    fn a_job_resumed_anywhere_never_runs_twice_and_is_answered() {
        let site = site(Answering::Before);
        let whole = tell(&site, "off", None).journal.borrow().clone();
        for kept in 1..=whole.len() {
            let diary = Diary::default();
            *diary.journal.borrow_mut() = whole[..kept].to_vec();
            let started = whole[..kept].iter().any(|r| matches!(r, Record::Running { .. }));
            let name = name();
            take_up(&site, &diary, name, diary.clone());
            let runs = diary.read().matches("run:").count();
            assert_eq!(runs, usize::from(!started), "kept {kept}: {}", diary.read());
            assert_eq!(diary.state().answer, Answer::HandedOver, "kept {kept}");
        }
    }
}
