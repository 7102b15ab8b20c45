//! Clocks that are wrong or jump, and deliveries that are stopped while hours go by: one wrong clock makes nothing
//! forgotten, and nothing runs twice.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use netsysrq_mail::protocol::job::outcome::End;
use netsysrq_mail::protocol::job::state::Answer;
use netsysrq_mail::protocol::time::Time;
use netsysrq_mail::system::marker;
use rustix::process::{Pid, Signal, kill_process};

use crate::ground::{Asked, DELIVER, message_ids, now, site, with_sendmail, write_seen};
use crate::strace::{strace, traced};
use crate::support::{PROGRAM, Ran, Site, eventually, libfaketime, missing, run};

/// Another clock for the program alone: what it starts has a cleared environment, and so the right clock.
struct Clock {
    library: PathBuf,
}

impl Clock {
    fn new() -> Option<Self> {
        let library = libfaketime()?;
        let clock = Self { library };
        let site = Site::without_spool();
        let mut sign = Command::new(PROGRAM);
        sign.envs(clock.environment("@2038-02-01 00:00:00"));
        sign.args(["sign", "--key-id", "alice", "--key"]).arg(site.path("alice"));
        let signed = run(sign.args(["web1", "ping"]), b"");
        if !signed.stdout.contains("2038-02-01T01:0") {
            missing("a libfaketime that this build of the program listens to");
            return None;
        }
        Some(clock)
    }

    fn environment(&self, time: &str) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME", time.to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("TZ", "UTC".to_owned()),
        ]
    }

    fn tool(&self, site: &Site, time: &str, arguments: &[&str], stdin: &str) -> Ran {
        let mut program = site.program();
        run(program.envs(self.environment(time)).args(arguments), stdin.as_bytes())
    }

    fn deliver(&self, site: &Site, time: &str, asked: &Asked) -> Ran {
        self.tool(site, time, &DELIVER, &asked.mail)
    }

    fn resume(&self, site: &Site, time: &str) -> Ran {
        self.tool(site, time, &["resume", "--wait"], "")
    }
}

const HOUR: u64 = 3600;

/// A request signed by a clock that is this many seconds ahead of ours, or behind it.
fn signed(site: &Site, ahead: i64, ttl: u64) -> Asked {
    let at = Time::from_unix(now().unix().saturating_add_signed(ahead));
    Asked::at(site, at, Duration::from_secs(ttl), &["count"])
}

/// A site that forgets a second after the end of a bucket, and was made long ago.
fn forgetful() -> Site {
    let site = site();
    forget_soon(&site);
    site
}

fn forget_soon(site: &Site) {
    site.configure("groups = [\"web\"]", "groups = [\"web\"]\nhistory = \"1s\"");
    marker::write(&site.path("state"), Time::from_unix(0)).unwrap();
}

fn number(site: &Site, name: &str) -> u64 {
    site.read(&format!("state/{name}")).split(' ').next().unwrap().parse().unwrap()
}

fn jobs(site: &Site) -> usize {
    let buckets = fs::read_dir(site.path("state/spool")).unwrap();
    buckets.map(|bucket| fs::read_dir(bucket.unwrap().path()).unwrap().count()).sum()
}

/// It was run once and answered once, and neither happens again.
fn is_over(site: &Site, asked: &Asked, runs: usize) {
    assert_eq!(asked.runs(site), runs);
    let answers = asked.answers(site);
    assert_eq!(answers.len(), 1);
    assert_eq!(site.deliver(&asked.mail).status, 1, "a second delivery");
    assert_eq!(site.tool(&["resume", "--wait"]).status, 0);
    assert_eq!((asked.runs(site), asked.answers(site).len()), (runs, 1));
}

/// A request of now does what it should.
fn is_in_order(site: &Site) {
    let asked = Asked::new(site, &["count"]);
    let ran = site.deliver(&asked.mail);
    assert_eq!((ran.status, asked.runs(site)), (0, 1), "{ran:?}");
}

// ---------------------------------------------------------------- one wrong clock

/// The signer's clock and ours agreed on that time.
#[test]
fn a_clock_set_back_loses_to_the_time_last_seen() {
    let Some(clock) = Clock::new() else { return };
    for time in ["-2h", "@1970-01-01 00:10:00", "@2001-09-09 01:46:40"] {
        let site = site();
        let first = Asked::new(&site, &["count"]);
        assert_eq!(site.deliver(&first.mail).status, 0);
        let second = Asked::new(&site, &["count"]);
        assert_eq!(clock.deliver(&site, time, &second).status, 0, "{time}");
        assert_eq!((first.runs(&site), second.runs(&site)), (1, 1), "{time}");
        for asked in [&first, &second] {
            assert_eq!(clock.deliver(&site, time, asked).status, 1, "a replay at {time}");
            is_over(&site, asked, 1);
        }
    }
}

#[test]
fn a_machine_in_1970_defers_until_its_clock_is_set() {
    let Some(clock) = Clock::new() else { return };
    let site = site();
    let asked = Asked::new(&site, &["count"]);
    let ran = clock.deliver(&site, "@1970-01-01 00:10:00", &asked);
    assert_eq!(ran.status, 75, "{ran:?}");
    assert!(ran.stderr.contains("deferred reason=future"), "{ran:?}");
    assert_eq!((jobs(&site), asked.runs(&site), site.answers().len()), (0, 0, 0));
    assert_eq!(site.deliver(&asked.mail).status, 0);
    is_over(&site, &asked, 1);
}

#[test]
fn a_request_from_the_future_is_deferred_until_its_time() {
    let Some(clock) = Clock::new() else { return };
    let site = site();
    let ahead = signed(&site, 600, HOUR);
    for _ in 0..2 {
        let ran = site.deliver(&ahead.mail);
        assert_eq!(ran.status, 75, "{ran:?}");
        assert!(ran.stderr.contains("reason=future"), "{ran:?}");
        assert_eq!((jobs(&site), number(&site, "seen")), (0, 0));
    }
    let within_the_skew = signed(&site, 240, HOUR);
    assert_eq!(site.deliver(&within_the_skew.mail).status, 0);
    is_over(&site, &within_the_skew, 1);
    assert_eq!(clock.deliver(&site, "+400", &ahead).status, 0);
    is_over(&site, &ahead, 1);
}

#[test]
fn one_delivery_under_a_clock_of_2038_or_later_poisons_nothing() {
    let Some(clock) = Clock::new() else { return };
    for time in ["+5h", "@2038-01-19 03:14:09", "@2106-02-07 06:28:17", "@2200-01-01 00:00:00"] {
        let site = forgetful();
        let before = Asked::new(&site, &["count"]);
        assert_eq!(site.deliver(&before.mail).status, 0);
        let asked = Asked::new(&site, &["count"]);
        let ran = clock.deliver(&site, time, &asked);
        assert_eq!(ran.status, 0, "{time}: {ran:?}");
        assert!(ran.stderr.contains("verdict=expired"), "{time}: {ran:?}");
        assert_eq!(number(&site, "seen"), asked.issued.unix(), "{time}");
        assert_eq!(number(&site, "low-water"), 0, "forgotten for one clock, at {time}");
        is_over(&site, &asked, 0);
        is_over(&site, &before, 1);
        is_in_order(&site);
    }
}

#[test]
fn a_signer_whose_clock_says_2038_poisons_nothing() {
    let site = site();
    let in_2038 = Time::from_unix(2_148_595_200);
    let asked = Asked::at(&site, in_2038, Duration::from_secs(HOUR), &["count"]);
    let ran = site.deliver(&asked.mail);
    assert_eq!(ran.status, 75, "{ran:?}");
    assert_eq!((jobs(&site), number(&site, "seen"), asked.runs(&site)), (0, 0, 0));
    is_in_order(&site);
}

#[test]
fn an_allowance_fills_again_after_one_delivery_under_a_wrong_clock() {
    let Some(clock) = Clock::new() else { return };
    let site = site();
    site.configure("per_hour  = 1000000", "per_hour  = 2");
    let wrong = Asked::new(&site, &["count"]);
    assert_eq!(clock.deliver(&site, "@2038-02-01 00:00:00", &wrong).status, 0);
    for _ in 0..2 {
        site.deliver(&Asked::new(&site, &["count"]).mail);
    }
    let later = signed(&site, 7200, HOUR);
    let ran = clock.deliver(&site, "+2h", &later);
    assert!(ran.stderr.contains("accepted"), "two hours later: {ran:?}");
    assert_eq!(later.runs(&site), 1);
}

#[test]
fn an_answer_tried_under_a_wrong_clock_is_tried_again() {
    let Some(clock) = Clock::new() else { return };
    let site = with_sendmail();
    site.write("mode", "75");
    let asked = Asked::new(&site, &["count"]);
    assert_eq!(clock.deliver(&site, "@2038-02-01 00:00:00", &asked).status, 0);
    assert_eq!(asked.state(&site).unwrap().tried.unwrap().0, 1);
    site.write("mode", "ok");
    // longer than the longest pause
    let resumed = clock.resume(&site, "+7h");
    assert_eq!(asked.state(&site).unwrap().answer, Answer::HandedOver, "{resumed:?}");
}

#[test]
fn an_answer_is_not_given_up_for_one_wrong_clock() {
    let Some(clock) = Clock::new() else { return };
    let site = with_sendmail();
    site.write("mode", "75");
    let asked = Asked::new(&site, &["count"]);
    assert_eq!(site.deliver(&asked.mail).status, 0);
    clock.resume(&site, "@2038-02-01 00:00:00");
    let answer = asked.state(&site).unwrap().answer;
    assert_eq!(answer, Answer::Owed, "after one resume under a clock of 2038");
}

#[test]
fn an_expired_request_is_answered_once_and_never_run() {
    let site = forgetful();
    for (ago, ttl) in [(-600, 60), (-4 * 3600, HOUR)] {
        let asked = signed(&site, ago, ttl);
        let ran = site.deliver(&asked.mail);
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.stderr.contains("verdict=expired"), "{ran:?}");
        is_over(&site, &asked, 0);
    }
}

#[test]
fn a_claim_that_expires_before_its_resume_is_only_answered() {
    let Some(clock) = Clock::new() else { return };
    let site = site();
    let asked = Asked::new(&site, &["count"]);
    asked.forge(&site, &[asked.claimed(now())]);
    assert_eq!(clock.resume(&site, "+2h").status, 0);
    assert!(asked.answers(&site)[0].contains("expired"), "{:?}", asked.answers(&site));
    is_over(&site, &asked, 0);
}

// ---------------------------------------------------------------- stopped while time goes by

/// A program of ours that is stopped at one of its calls.
struct Stopped {
    child: Option<Child>,
    pid: Pid,
    _trace: tempfile::NamedTempFile,
}

impl Stopped {
    fn at(
        site: &Site,
        strace: &PathBuf,
        environment: &[(&'static str, String)],
        options: &[String],
        arguments: &[&str],
        stdin: &str,
    ) -> Self {
        let trace = tempfile::NamedTempFile::new_in(site.root()).unwrap();
        let mut command = Command::new(strace);
        command.args(["-y", "-o"]).arg(trace.path()).args(options);
        for (name, value) in environment {
            command.arg(format!("-E{name}={value}"));
        }
        command.arg(PROGRAM).arg("--config").arg(site.path("config.toml")).args(arguments);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let stopped = || fs::read_to_string(trace.path()).unwrap().contains("stopped by SIGSTOP");
        eventually("the program is stopped", || stopped() || child.try_wait().unwrap().is_some());
        assert!(stopped(), "it ended before {options:?}: {child:?}");
        // strace has one child, which is the program
        let tracer = child.id();
        let children =
            fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).unwrap();
        let pid = children.trim().parse().ok().and_then(Pid::from_raw).unwrap();
        Self { child: Some(child), pid, _trace: trace }
    }

    /// Lets it go on to its end.
    fn go_on(mut self) -> Ran {
        kill_process(self.pid, Signal::CONT).unwrap();
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        Ran::of(&output)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = kill_process(self.pid, Signal::KILL);
            drop(child.wait());
        }
    }
}

/// The calls of a claim; a delivery is stopped after each of them.
const CLAIM: [(&str, usize); 8] = [
    ("flock", 2),
    ("write", 1),
    ("fallocate", 1),
    ("mkdir", 1),
    ("renameat2", 1),
    ("fsync", 2),
    ("fsync", 4),
    ("fdatasync", 1),
];

fn stop_at((call, nth): (&str, usize)) -> Vec<String> {
    vec![format!("-etrace={call}"), format!("-einject={call}:signal=STOP:when={nth}")]
}

/// Meanwhile the same mail may come a second time, and the hour of its request is forgotten.
#[test]
fn a_delivery_stopped_anywhere_for_hours_runs_nothing_twice() {
    let (Some(clock), Some(strace)) = (Clock::new(), strace()) else { return };
    for point in CLAIM {
        for twin in [true, false] {
            let what = format!("stopped at {point:?}, twin {twin}");
            let site = forgetful();
            let asked = Asked::new(&site, &["count"]);
            let stopped = Stopped::at(&site, &strace, &[], &stop_at(point), &DELIVER, &asked.mail);
            let named = asked.job(&site).exists();
            if twin {
                let ran = site.deliver(&asked.mail);
                assert_eq!(ran.status, i32::from(named), "{what}: {ran:?}");
                assert_eq!(asked.runs(&site), usize::from(!named), "{what}: it has the lock");
            }
            // five hours later, which both clocks agree on
            let later = signed(&site, 5 * 3600, HOUR);
            assert_eq!(clock.deliver(&site, "+5h", &later).status, 0, "{what}");
            assert_eq!((later.runs(&site), number(&site, "seen")), (1, later.issued.unix()));
            let forgotten = !asked.job(&site).exists();
            assert_eq!(forgotten, !named, "{what}: a job whose lock is held is kept");
            let ran = stopped.go_on();
            assert!(matches!(ran.status, 0 | 1), "{what}: {ran:?}");
            if twin && !named {
                assert_eq!(ran.status, 1, "{what}: {ran:?}");
                assert!(ran.stderr.contains("too-old"), "{what}: {ran:?}");
            }
            for time in ["+0", "+5h"] {
                let resumed = clock.resume(&site, time);
                assert_eq!(resumed.status, 0, "{what}: {resumed:?}");
                assert_eq!(clock.deliver(&site, time, &asked).status, 1, "{what}");
            }
            assert!(asked.runs(&site) <= 1, "{what}: it ran twice");
            // five hours later, by both clocks, it is too late to begin; what is forgotten is not answered
            let too_old = !twin && ran.stderr.contains("too-old");
            let (answers, runs) = (asked.answers(&site), asked.runs(&site));
            assert!(
                runs == 1 || too_old || answers.concat().contains("expired"),
                "{what}: {ran:?}"
            );
            assert_eq!(message_ids(&answers).len(), usize::from(!too_old), "{what}: {ran:?}");
            assert!(!too_old || runs == 0, "{what}: {ran:?}");
        }
    }
}

/// Its delivery was killed before it saw that it was too late.
#[test]
fn a_claim_made_too_late_is_answered_and_never_run() {
    let (Some(clock), Some(strace)) = (Clock::new(), strace()) else { return };
    let site = forgetful();
    let asked = Asked::new(&site, &["count"]);
    let mut options = stop_at(("mkdir", 1));
    options[0] = "-etrace=mkdir,fsync".to_owned();
    // it is named, and dies before it has read the low-water mark
    options.push("-einject=fsync:signal=KILL:when=4".to_owned());
    let stopped = Stopped::at(&site, &strace, &[], &options, &DELIVER, &asked.mail);
    assert_eq!(site.deliver(&asked.mail).status, 0);
    let later = signed(&site, 5 * 3600, HOUR);
    assert_eq!(clock.deliver(&site, "+5h", &later).status, 0);
    assert_eq!(number(&site, "low-water"), asked.name.hour());
    assert_eq!(stopped.go_on().status, -1);
    assert!(asked.job(&site).exists(), "the late claim is there");
    // the lesser clock of a dead battery, after a power cut that took `seen`, which nobody syncs
    write_seen(&site, 0);
    let [first] = &asked.answers(&site)[..] else { panic!("one answer to one run") };
    fs::remove_dir_all(site.path("answers")).unwrap();
    fs::create_dir(site.path("answers")).unwrap();
    let resumed = site.tool(&["resume", "--wait"]);
    assert_eq!(asked.runs(&site), 1, "it ran twice: {resumed:?}");
    // it might have been accepted a month ago and never answered, so its holder is told what is known
    let [second] = &asked.answers(&site)[..] else { panic!("no word of the late claim") };
    let unavailable = "unavailable: expired before the oldest nonce";
    assert!(second.contains(unavailable) && !first.contains(unavailable), "{second}");
}

/// Nothing runs twice, and later requests are not refused.
#[test]
fn a_clock_that_jumps_during_a_delivery_does_no_harm() {
    let (Some(clock), Some(strace)) = (Clock::new(), strace()) else { return };
    for (n, point) in CLAIM.into_iter().enumerate() {
        let jump = ["+3h", "@2038-02-01 00:00:00", "@1970-01-02 00:00:00", "-3h"][n % 4];
        let what = format!("{jump} at {point:?}");
        let site = forgetful();
        let asked = Asked::new(&site, &["count"]);
        site.write("time", "+0\n");
        let environment: Vec<(&str, String)> = clock
            .environment("")
            .into_iter()
            .filter(|(name, _)| *name != "FAKETIME")
            .chain([
                ("FAKETIME_TIMESTAMP_FILE", site.path("time").display().to_string()),
                ("FAKETIME_NO_CACHE", "1".to_owned()),
            ])
            .collect();
        // the library opens and reads, and neither locks nor syncs
        let options = stop_at(point);
        let stopped = Stopped::at(&site, &strace, &environment, &options, &DELIVER, &asked.mail);
        site.write("time", &format!("{jump}\n"));
        let ran = stopped.go_on();
        assert_eq!(ran.status, 0, "{what}: {ran:?}");
        assert_eq!(asked.answers(&site).len(), 1, "{what}: {ran:?}");
        let runs = asked.runs(&site);
        assert!(runs <= 1, "{what}");
        assert!(number(&site, "seen") <= now().unix(), "{what}");
        is_over(&site, &asked, runs);
        is_in_order(&site);
    }
}

// ---------------------------------------------------------------- forgetting

/// From then on, replays are refused as too old.
#[test]
fn the_low_water_mark_is_synced_before_anything_is_removed() {
    let Some(strace) = strace() else { return };
    let site = forgetful();
    let old = signed(&site, -4 * 3600, HOUR);
    assert_eq!(site.deliver(&old.mail).status, 0);
    assert!(old.job(&site).exists());
    let new = Asked::new(&site, &["count"]);
    let options = ["-etrace=pwrite64,fsync,fdatasync,unlink,unlinkat,rmdir".to_owned()];
    let pruned = traced(&site, &strace, &options, &DELIVER, &new.mail);
    assert_eq!(pruned.ran.status, 0, "{:?}", pruned.ran);
    let place = |what: &str, of: &str| {
        pruned.calls.iter().position(|call| call.starts_with(what) && call.contains(of)).unwrap()
    };
    let (written, synced) = (place("pwrite64(", "/low-water"), place("fsync(", "/low-water"));
    let removed = place("unlinkat(", &old.name.file());
    assert!(written < synced && synced < removed, "{:?}", pruned.calls);
    assert!(!old.job(&site).exists() && new.job(&site).exists());
    assert_eq!(number(&site, "low-water"), old.name.hour());
    let again = site.deliver(&old.mail);
    assert_eq!(again.status, 1, "{again:?}");
    assert!(again.stderr.contains("reason=too-old"), "{again:?}");
    assert_eq!((old.runs(&site), old.answers(&site).len(), jobs(&site)), (0, 1, 1));
}

#[test]
fn a_bucket_that_owes_an_answer_is_not_forgotten() {
    let site = with_sendmail();
    forget_soon(&site);
    site.write("mode", "75");
    let old = signed(&site, -4 * 3600, HOUR);
    assert_eq!(site.deliver(&old.mail).status, 0);
    is_in_order(&site);
    assert!(old.job(&site).exists(), "it owes an answer");
    assert_eq!(number(&site, "low-water"), 0);
    site.write("mode", "ok");
    site.tool(&["resume", "--wait"]);
    old.age_last_try(&site, Duration::from_secs(61));
    site.tool(&["resume", "--wait"]);
    assert!(!old.job(&site).exists(), "it owes nothing any more");
    assert_eq!(site.deliver(&old.mail).status, 1);
}

#[test]
fn a_prune_killed_before_it_removes_lets_nothing_back_in() {
    let Some(strace) = strace() else { return };
    for nth in 1..=2 {
        let site = forgetful();
        let old = signed(&site, -4 * 3600, HOUR);
        assert_eq!(site.deliver(&old.mail).status, 0);
        let new = Asked::new(&site, &["count"]);
        let kill = format!("-einject=unlinkat:signal=KILL:when={nth}");
        let options = ["-etrace=unlinkat".to_owned(), kill];
        let killed = traced(&site, &strace, &options, &DELIVER, &new.mail);
        assert_eq!(killed.ran.status, -1, "{:?}", killed.ran);
        assert_eq!(number(&site, "low-water"), old.name.hour());
        assert_eq!(site.deliver(&old.mail).status, 1);
        assert_eq!((old.runs(&site), old.answers(&site).len()), (0, 1));
        is_in_order(&site);
        assert!(!old.job(&site).parent().unwrap().exists(), "the next one removes the rest");
        assert_eq!(site.tool(&["resume", "--wait"]).status, 0);
        is_over(&site, &new, 1);
    }
}

#[test]
fn a_debt_made_during_a_prune_is_not_forgotten() {
    let Some(strace) = strace() else { return };
    let site = with_sendmail();
    forget_soon(&site);
    site.write("mode", "ok");
    // a finished one makes the bucket; another of the same hour comes while the bucket is searched
    let issued = Time::from_unix((now().unix() / HOUR - 4) * HOUR);
    let ask = || Asked::at(&site, issued, Duration::from_secs(1800), &["count"]);
    let (old, late) = (ask(), ask());
    assert_eq!(old.name.hour(), late.name.hour());
    assert_eq!(site.deliver(&old.mail).status, 0);
    let new = Asked::new(&site, &["count"]);
    let bucket = old.job(&site).parent().unwrap().display().to_string();
    let options = vec![
        "-etrace=getdents64".to_owned(),
        format!("-P{bucket}"),
        "-einject=getdents64:signal=STOP:when=2".to_owned(),
    ];
    let pruner = Stopped::at(&site, &strace, &[], &options, &DELIVER, &new.mail);
    site.write("mode", "75");
    assert_eq!(site.deliver(&late.mail).status, 0);
    assert!(late.state(&site).unwrap().owes_mail());
    site.write("mode", "ok");
    assert_eq!(pruner.go_on().status, 0);
    if late.job(&site).exists() {
        late.age_last_try(&site, Duration::from_secs(61));
    }
    site.tool(&["resume", "--wait"]);
    let answered = site.answers().concat().contains(&late.cti());
    assert!(answered, "its answer was owed, and its job was forgotten");
}

#[test]
fn an_end_of_time_in_the_journal_stops_no_resume() {
    let site = site();
    let asked = Asked::new(&site, &["count"]);
    // claimed under a clock that was far ahead
    asked.forge(&site, &[asked.claimed(Time::from_unix(u64::MAX))]);
    assert_eq!(site.tool(&["resume", "--wait"]).status, 0);
    let end = asked.state(&site).unwrap().finished.unwrap().end;
    assert_eq!((asked.runs(&site), end), (0, End::Unrun), "it is expired, as far as anybody knows");
    is_over(&site, &asked, 0);
}
