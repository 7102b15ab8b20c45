//! What a disk, a kernel and a mail system refuse, call by call: no run without a durable claim, "try again" only
//! before it, a line in the log, and the answer once the fault is mended.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netsysrq_mail::protocol::job::outcome::End;
use netsysrq_mail::protocol::job::record::Record;
use netsysrq_mail::protocol::job::state::Answer;
use netsysrq_mail::protocol::ruling::Ruling;

use crate::ground::{
    Asked, DELIVER, boot, long, message_ids, now, site, with_sendmail, write_seen,
};
use crate::strace::{Traced, strace, traced};
use crate::support::{PROGRAM, Ran, Site, missing, needed, run};

// ---------------------------------------------------------------- the disk and the kernel

/// Every call that touches a file or starts a process.
const TRACED: &str = "openat,read,pread64,write,pwrite64,fsync,fdatasync,mkdir,rename,renameat,renameat2,link,linkat,\
                      unlink,unlinkat,fallocate,ftruncate,flock,lseek,statx,newfstatat,getdents64,pipe2,clone,clone3,\
                      vfork,pidfd_open,ppoll,memfd_create,sendto";

/// What each call can be refused with.
fn errors(call: &str) -> &'static [&'static str] {
    match call {
        "openat" => &["EIO", "EROFS", "EINTR", "EMFILE", "ENOMEM", "ENOSPC", "EACCES"],
        "write" | "pwrite64" => &["ENOSPC", "EIO", "EINTR", "EDQUOT"],
        "fsync" | "fdatasync" => &["EIO", "ENOSPC", "EINTR", "EDQUOT"],
        "mkdir" => &["ENOSPC", "EIO", "EROFS", "ENOMEM", "EDQUOT"],
        "renameat2" => &["ENOSPC", "EIO", "EROFS", "ENOMEM", "EDQUOT", "EINVAL", "ENOSYS"],
        "rename" | "renameat" | "link" | "linkat" => &["ENOSPC", "EIO", "EROFS", "ENOMEM"],
        "fallocate" => &["ENOSPC", "EIO", "EINTR", "ENOMEM", "EDQUOT", "EOPNOTSUPP", "ENOSYS"],
        "ftruncate" => &["EIO", "EINTR", "ENOSPC"],
        "flock" => &["EINTR", "ENOLCK", "ENOMEM"],
        "read" | "pread64" => &["EIO", "EINTR"],
        "getdents64" | "lseek" => &["EIO"],
        "statx" | "newfstatat" => &["EIO", "ENOMEM"],
        "pipe2" => &["EMFILE", "ENFILE"],
        "clone" | "clone3" | "vfork" => &["EAGAIN", "ENOMEM"],
        "pidfd_open" | "memfd_create" => &["EMFILE", "ENOMEM"],
        "ppoll" => &["EINTR", "ENOMEM"],
        _ => &[],
    }
}

/// What a disk or a process may run out of, from one call on.
const REGIMES: [(&str, &[&str]); 4] = [
    ("ENOSPC", &["write", "pwrite64", "mkdir", "fallocate", "renameat2", "renameat"]),
    (
        "EIO",
        &["write", "pwrite64", "fsync", "fdatasync", "mkdir", "fallocate", "renameat2", "renameat"],
    ),
    ("EROFS", &["mkdir", "write", "pwrite64", "fallocate", "renameat2", "renameat", "unlink"]),
    ("EMFILE", &["openat", "pipe2", "pidfd_open"]),
];

/// The calls of a good run, from the first that touches the state directory: name, and number among those of that name.
fn points(site: &Site, calls: &[String]) -> Vec<(String, usize)> {
    let state = site.path("state").display().to_string();
    let (mut counts, mut points, mut begun) = (BTreeMap::new(), Vec::new(), false);
    for call in calls {
        let Some((name, _)) = call.split_once('(') else { continue };
        let nth = counts.entry(name.to_owned()).or_insert(0_usize);
        *nth += 1;
        begun |= call.contains(&state) && name != "read";
        // the kernel's own files and our log stay as they are
        let spared = call.contains("</proc/") || call.starts_with("write(2<");
        if begun && !spared && !errors(name).is_empty() {
            points.push((name.to_owned(), *nth));
        }
    }
    points
}

/// The program that meets a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whom {
    /// A delivery with --wait, of a new request.
    Delivery,
    /// A resume of a job that is claimed and not begun.
    Resume,
}

/// Every point of calls that change the world, with the first error and one more in turn; every third of reads.
fn in_short_run(call: &str, point: usize, error: usize) -> bool {
    let count = errors(call).len();
    match call {
        "read" | "pread64" | "statx" | "newfstatat" | "lseek" | "getdents64" => {
            point.is_multiple_of(3) && error == point % count
        }
        "openat" => error == point % count,
        _ => error == 0 || error == point % count,
    }
}

struct Sweep {
    site: Site,
    strace: PathBuf,
    whom: Whom,
    command: &'static str,
    asked: Asked,
    done: usize,
    wrong: Vec<String>,
}

impl Sweep {
    fn new(whom: Whom, command: &'static str) -> Option<Self> {
        let strace = strace()?;
        let site = site();
        let asked = Asked::new(&site, &[command]);
        Some(Self { site, strace, whom, command, asked, done: 0, wrong: Vec::new() })
    }

    fn inject(&self, options: &[String]) -> Traced {
        let asked = &self.asked;
        let mut all = vec![format!("-etrace={TRACED}")];
        all.extend_from_slice(options);
        let (arguments, stdin): (&[&str], &str) = match self.whom {
            Whom::Delivery => (&DELIVER, &asked.mail),
            Whom::Resume => {
                asked.forge(&self.site, &[asked.claimed(now())]);
                (&["resume", "--wait"], "")
            }
        };
        traced(&self.site, &self.strace, &all, arguments, stdin)
    }

    /// The points of a run without a fault.
    fn points(&self) -> Vec<(String, usize)> {
        let traced = self.inject(&[]);
        assert_eq!(traced.ran.status, 0, "{:?}", traced.ran);
        assert_eq!(self.asked.runs(&self.site), 1);
        assert_eq!(message_ids(&self.asked.answers(&self.site)).len(), self.stages());
        self.forget();
        points(&self.site, &traced.calls)
    }

    fn stages(&self) -> usize {
        if self.command == "soon" { 2 } else { 1 }
    }

    /// Each case starts from a spool without jobs, so that the calls of a run are always the same ones.
    fn forget(&self) {
        for part in ["answers", "runs"] {
            let path = self.site.path(part);
            if part == "answers" {
                fs::remove_dir_all(&path).unwrap();
                fs::create_dir(&path).unwrap();
            } else {
                fs::write(&path, "").unwrap();
            }
        }
        for entry in fs::read_dir(self.site.path("state/spool")).unwrap() {
            let path = entry.unwrap().path();
            fs::remove_dir_all(&path).unwrap();
            if path.ends_with("tmp") {
                DirBuilder::new().mode(0o700).create(&path).unwrap();
            }
        }
    }

    fn case(&mut self, what: &str, options: &[String]) {
        let traced = self.inject(options);
        let asked = &self.asked;
        if traced.fault().is_none() {
            self.forget();
            return;
        }
        self.done += 1;
        let mut wrong = self.judge_fault(asked, &traced);
        wrong.extend(self.judge_recovery(asked));
        let job = fs::read_to_string(asked.job(&self.site)).unwrap_or_default();
        let steps: Vec<&str> = job.lines().filter_map(|line| line.split(' ').nth(2)).collect();
        for wrong in wrong {
            let fault = &traced.calls[traced.fault().unwrap()];
            let log = traced.log();
            self.wrong.push(format!(
                "{what}: {wrong}\n    at {fault}\n    status {}, log {log:?}\n    journal now {steps:?}",
                traced.ran.status
            ));
        }
        self.forget();
    }

    /// What must hold while the fault is there.
    fn judge_fault(&self, asked: &Asked, traced: &Traced) -> Vec<String> {
        let mut wrong = Vec::new();
        let (status, state) = (traced.ran.status, asked.state(&self.site));
        let runs = asked.runs(&self.site);
        if runs > 1 {
            wrong.push(format!("it ran {runs} times"));
        }
        if runs == 1 && state.as_ref().is_none_or(|state| state.started.is_none()) {
            wrong.push("it ran, and its journal does not say that it was begun".to_owned());
        }
        let statuses: &[i32] = if self.whom == Whom::Delivery { &[0, 75] } else { &[0, 1, 75] };
        if !statuses.contains(&status) {
            wrong.push(format!("status {status}"));
        }
        if self.whom == Whom::Delivery && status == 0 && state.is_none() {
            wrong.push("status 0 without a claim".to_owned());
        }
        if self.whom == Whom::Delivery && status == 75 && traced.was_durable() {
            wrong.push("status 75 after a durable claim".to_owned());
        }
        if self.whom == Whom::Delivery && status == 75 && runs > 0 {
            wrong.push("status 75, and it ran".to_owned());
        }
        let log = traced.log();
        // a disk that cannot be read does not mean a damaged journal
        let honest = |line: &String| {
            let about = line.contains(&asked.cti()) && !line.starts_with("accepted");
            (about && !line.starts_with("damaged")) || line.starts_with("not-resumed")
        };
        if asked.answers(&self.site).is_empty() {
            if !log.iter().any(honest) {
                wrong.push("nobody is answered, and the log does not say so".to_owned());
            }
            if self.whom == Whom::Resume && status == 0 {
                wrong.push("nobody is answered, and the status says that all are".to_owned());
            }
        }
        wrong
    }

    /// What must come of it once the fault is mended, by a second delivery or by resume.
    fn judge_recovery(&self, asked: &Asked) -> Vec<String> {
        let site = &self.site;
        let mut wrong = Vec::new();
        let begun = asked.state(site).is_some_and(|state| state.started.is_some());
        let before = asked.runs(site);
        let resume = || {
            if asked.state(site).is_some_and(|state| state.owes_mail() && state.tried.is_some()) {
                asked.age_last_try(site, Duration::from_secs(61));
            }
            site.tool(&["resume", "--wait"])
        };
        let redeliver_first = self.done.is_multiple_of(2) || asked.state(site).is_none();
        if redeliver_first {
            let again = site.deliver(&asked.mail);
            if !matches!(again.status, 0 | 1) {
                wrong.push(format!("the second delivery: {again:?}"));
            }
        }
        let resumed = resume();
        if resumed.status != 0 {
            wrong.push(format!("resume: {resumed:?}"));
        }
        if !redeliver_first {
            let again = site.deliver(&asked.mail);
            if again.status != 1 {
                wrong.push(format!("the second delivery: {again:?}"));
            }
        }
        let runs = asked.runs(site);
        if runs > 1 || (begun && runs != before) {
            wrong.push(format!("it ran {runs} times in the end, {before} times before"));
        }
        if !begun && runs == 0 && asked.state(site).is_none_or(|state| state.verdict == Ruling::Run)
        {
            let answer = asked.answers(site).concat();
            let subject = answer.lines().find(|line| line.starts_with("Subject:"));
            let told = answer.contains("unavailable") || answer.contains("not started");
            if !told || answer.contains("rebooted") {
                wrong.push(format!("it was never run, and that is untrue: {subject:?}"));
            }
        }
        let state = asked.state(site);
        if state.is_none_or(|state| state.answer != Answer::HandedOver) {
            wrong.push("its journal does not say that it was answered".to_owned());
        }
        let answers = asked.answers(site);
        let ids = message_ids(&answers).len();
        if ids == 0 || ids > self.stages() {
            wrong.push(format!("{ids} different answers"));
        }
        wrong
    }

    fn every_call_refused_once(mut self) {
        for (n, (call, nth)) in self.points().iter().enumerate() {
            for (m, error) in errors(call).iter().enumerate() {
                if long() || in_short_run(call, n, m) {
                    let option = format!("-einject={call}:error={error}:when={nth}");
                    self.case(&format!("{call} {nth} {error}"), &[option]);
                }
            }
        }
        self.end("calls refused once");
    }

    fn everything_refused_from_a_call_on(mut self) {
        let points = self.points();
        for (error, calls) in REGIMES {
            for at in 0..points.len() {
                if !calls.contains(&points[at].0.as_str()) {
                    continue;
                }
                let option = |call: &&str| {
                    let after = points[at..].iter().find(|(name, _)| name == call)?;
                    Some(format!("-einject={call}:error={error}:when={}+", after.1))
                };
                let options: Vec<String> = calls.iter().filter_map(option).collect();
                self.case(&format!("{error} from {} {} on", points[at].0, points[at].1), &options);
            }
        }
        self.end("calls from which on all like them are refused");
    }

    fn end(self, what: &str) {
        eprintln!(
            "faults: {:?} of {}: {} {what}, {} wrong",
            self.whom,
            self.command,
            self.done,
            self.wrong.len()
        );
        assert!(self.done > 20, "only {} faults were met", self.done);
        assert!(self.wrong.is_empty(), "{} wrong:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

#[test]
fn a_delivery_refused_any_one_call_loses_and_repeats_nothing() {
    if let Some(sweep) = Sweep::new(Whom::Delivery, "count") {
        sweep.every_call_refused_once();
    }
}

#[test]
fn a_delivery_out_of_disk_or_descriptors_loses_nothing() {
    if let Some(sweep) = Sweep::new(Whom::Delivery, "count") {
        sweep.everything_refused_from_a_call_on();
    }
}

#[test]
fn a_resume_refused_any_one_call_loses_and_repeats_nothing() {
    if let Some(sweep) = Sweep::new(Whom::Resume, "soon") {
        sweep.every_call_refused_once();
    }
}

#[test]
fn a_resume_out_of_disk_or_descriptors_loses_nothing() {
    if let Some(sweep) = Sweep::new(Whom::Resume, "count") {
        sweep.everything_refused_from_a_call_on();
    }
}

#[test]
fn a_pretended_write_never_lets_an_unclaimed_command_run() {
    let Some(strace) = strace() else { return };
    let site = site();
    for nth in 1..=4 {
        for call in ["write", "pwrite64"] {
            let asked = Asked::new(&site, &["count"]);
            let options = vec![
                "-etrace=write,pwrite64,sendto".to_owned(),
                format!("-einject={call}:retval=10:when={nth}"),
            ];
            let lied = traced(&site, &strace, &options, &DELIVER, &asked.mail);
            assert!(matches!(lied.ran.status, 0 | 75), "{call} {nth}: {:?}", lied.ran);
            let runs = asked.runs(&site);
            assert!(runs == 0 || asked.job(&site).exists(), "{call} {nth}: it ran without a claim");
            site.deliver(&asked.mail);
            site.tool(&["resume", "--wait"]);
            assert!(asked.runs(&site) <= 1, "{call} {nth}: it ran twice");
            // what nobody can read stays in the spool, and in the log
            drop(fs::remove_file(asked.job(&site)));
        }
    }
}

#[test]
fn a_file_size_limit_leaves_the_journal_whole() {
    let site = site();
    // blocks of 512 octets: the first holds claim and start, not the answer
    let asked = Asked::new(&site, &["count"]);
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh", PROGRAM, "--config"]);
    limited.arg(site.path("config.toml")).args(DELIVER);
    let ran = run(&mut limited, asked.mail.as_bytes());
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stderr.contains("unfinished"), "{ran:?}");
    assert_eq!(asked.runs(&site), 1);
    let resumed = site.tool(&["resume", "--wait"]);
    assert_eq!(resumed.status, 0, "{resumed:?}");
    assert_eq!((asked.runs(&site), asked.answers(&site).len()), (1, 1));
}

#[test]
fn a_runner_that_cannot_be_started_leaves_its_job_to_resume() {
    let Some(strace) = strace() else { return };
    let site = site();
    for options in [
        &["-etrace=clone3,clone,vfork,sendto", "-einject=clone3,clone,vfork:error=EAGAIN"][..],
        &["-f", "-etrace=execve,sendto", "-P/proc/self/exe", "-einject=execve:error=ENOENT"],
        &["-f", "-etrace=execve,sendto", "-P/proc/self/exe", "-einject=execve:error=EACCES"],
    ] {
        let asked = Asked::new(&site, &["count"]);
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let detached = ["deliver", "--verbose", "--profile", "mailbox"];
        let ran = traced(&site, &strace, &options, &detached, &asked.mail).ran;
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.stderr.contains("not-started"), "{ran:?}");
        let state = asked.state(&site).unwrap();
        assert_eq!((state.started, asked.runs(&site)), (None, 0));
        assert_eq!(site.tool(&["resume", "--wait"]).status, 0);
        assert_eq!((asked.runs(&site), asked.answers(&site).len()), (1, 1));
        assert_eq!(site.deliver(&asked.mail).status, 1);
        assert_eq!((asked.runs(&site), asked.answers(&site).len()), (1, 1));
    }
}

#[test]
fn a_command_that_cannot_be_started_is_answered_as_such_once() {
    let Some(strace) = strace() else { return };
    let site = site();
    for (path, error) in [
        ("/bin/sh", "ENOENT"),
        ("/bin/sh", "EACCES"),
        ("/bin/sh", "ENOMEM"),
        ("/proc/self/exe", "ENOENT"),
        ("/proc/self/exe", "EACCES"),
    ] {
        let asked = Asked::new(&site, &["count"]);
        let options = [
            "-f".to_owned(),
            "-etrace=execve".to_owned(),
            format!("-P{path}"),
            format!("-einject=execve:error={error}"),
        ];
        let ran = traced(&site, &strace, &options, &DELIVER, &asked.mail).ran;
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.stderr.contains("answered"), "{ran:?}");
        let answers = asked.answers(&site);
        assert_eq!((asked.runs(&site), answers.len()), (0, 1), "{path} {error}");
        assert!(answers[0].contains("not started"), "{path} {error}: {}", answers[0]);
        assert_eq!(site.deliver(&asked.mail).status, 1);
        assert_eq!(site.tool(&["resume", "--wait"]).status, 0);
        assert_eq!((asked.runs(&site), asked.answers(&site).len()), (0, 1), "{path} {error}");
    }
    for call in ["clone3", "pidfd_open", "pipe2"] {
        let asked = Asked::new(&site, &["count"]);
        let error = if call == "clone3" { "EAGAIN" } else { "EMFILE" };
        let options = [format!("-etrace={call}"), format!("-einject={call}:error={error}:when=1")];
        let ran = traced(&site, &strace, &options, &DELIVER, &asked.mail).ran;
        assert_eq!(ran.status, 0, "{call}: {ran:?}");
        assert_eq!(asked.answers(&site).len(), 1, "{call}");
        site.deliver(&asked.mail);
        assert!(asked.runs(&site) <= 1, "{call}");
    }
}

#[test]
fn a_spent_quota_is_treated_like_a_full_disk() {
    let Some(strace) = strace() else { return };
    let site = site();
    // a claim gives up the reserve
    let asked = Asked::new(&site, &["count"]);
    let options =
        ["-etrace=fallocate", "-einject=fallocate:error=EDQUOT:when=1"].map(ToOwned::to_owned);
    let claimed = traced(&site, &strace, &options, &DELIVER, &asked.mail).ran;
    assert_eq!(claimed.status, 0, "{claimed:?}");
    assert_eq!((asked.runs(&site), asked.answers(&site).len()), (1, 1));
    // an answer leaves without its output; the time is noted only if it is newer
    write_seen(&site, now().after(Duration::from_secs(60)).unix());
    let asked = Asked::new(&site, &["large"]);
    let options =
        ["-etrace=pwrite64", "-einject=pwrite64:error=EDQUOT:when=3"].map(ToOwned::to_owned);
    let cut = traced(&site, &strace, &options, &DELIVER, &asked.mail);
    let hit = |call: &String| call.contains("finished") && call.contains("INJECTED");
    assert!(cut.calls.iter().any(hit), "{:#?}", cut.calls);
    assert!(cut.ran.stderr.contains("answered"), "{:?}", cut.ran);
    assert_eq!((asked.runs(&site), asked.answers(&site).len()), (1, 1));
}

// ---------------------------------------------------------------- a disk that is full

/// Runs a script in a mount namespace of its own, where `state` is a tmpfs of this many blocks and files.
fn on_tmpfs(site: &Site, options: &str, script: &str) -> Option<Ran> {
    let unshare = needed("unshare")?;
    let able =
        run(Command::new(&unshare).args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]), b"");
    if able.status != 0 {
        missing("the right to mount a tmpfs");
        return None;
    }
    fs::create_dir_all(site.path("state")).unwrap();
    let prelude = format!(
        r#"
cd {root}
p={PROGRAM}
n() {{ "$p" --config {root}/config.toml "$@"; }}
fill() {{ dd if=/dev/zero of=state/fill.$1 bs=4k 2>/dev/null || :; }}
give() {{ st=0; n deliver --verbose --wait --profile mailbox <"$1" 2>&1 || st=$?; echo "$1 status $st"; }}
mount -t tmpfs -o mode=700,{options} tmpfs state
n init >/dev/null
"#,
        root = site.root().display()
    );
    let ran = run(
        Command::new(unshare).args(["-m", "/bin/sh", "-euc", &format!("{prelude}{script}")]),
        b"",
    );
    assert_eq!(ran.status, 0, "{ran:?}");
    Some(ran)
}

/// A site whose spool is to be made on a tmpfs; requests are signed later, in its script.
fn unmade() -> Site {
    let site = site();
    fs::remove_dir_all(site.path("state")).unwrap();
    let root = site.root().display().to_string();
    site.write(
        "ask",
        &format!(
            "{PROGRAM} sign --mail --from a@example.com --rcpt b@example.com --key-id alice --key {root}/alice web1 \"$@\"\n"
        ),
    );
    site
}

#[test]
fn on_a_full_disk_the_reserve_holds_request_and_answer() {
    let site = unmade();
    let ran = on_tmpfs(
        &site,
        "size=2m",
        r#"
sh ask count >one; sh ask count >two
fill 1; fill 2
df state | tail -1 | awk '{print "free", $4}'
ls state/reserve
give one
test ! -e state/reserve && echo given up
give two
cat state/spool/*/alice.* | cut -d' ' -f3 | sort | uniq -c | xargs
rm state/fill.*
st=0; n resume --wait || st=$?; echo "resume $st"
echo reserve $(cat state/reserve/* | wc -c)
sh ask count >three; give three
"#,
    );
    let Some(ran) = ran else { return };
    let all = &ran.stdout;
    assert!(all.contains("free 0\n"), "{all}");
    for line in
        ["one status 0", "given up", "two status 0", "resume 0", "reserve 262144", "three status 0"]
    {
        assert!(all.contains(line), "{line} is not in:\n{all}");
    }
    assert!(all.contains("2 answered 2 claimed 2 finished 2 running"), "{all}");
    assert_eq!(site.read("runs").lines().count(), 3);
    assert_eq!(message_ids(&site.answers()).len(), 3, "{all}");
}

#[test]
fn output_that_a_full_disk_cannot_hold_is_left_out() {
    let site = unmade();
    let ran = on_tmpfs(
        &site,
        "size=2m",
        r#"
sh ask large >one
head -c 60000 /dev/zero >state/room
fill 1; fill 2; rm -r state/room state/reserve
give one
cat state/spool/*/alice.* | cut -d' ' -f3 | xargs
"#,
    );
    let Some(ran) = ran else { return };
    assert!(ran.stdout.contains("one status 0"), "{ran:?}");
    assert!(ran.stdout.contains("claimed running finished answered"), "{ran:?}");
    assert_eq!(site.read("runs").lines().count(), 1);
    let answers = site.answers();
    assert_eq!(answers.len(), 1, "{ran:?}");
    assert!(answers[0].len() < 6000, "{}", answers[0].len());
    assert!(answers[0].contains("200000"), "it does not say how much was left out: {}", answers[0]);
}

#[test]
fn without_room_for_a_claim_a_request_is_deferred() {
    let site = unmade();
    let ran = on_tmpfs(
        &site,
        "size=2m",
        r#"
sh ask count >one
rm -r state/reserve; fill 1; fill 2
give one
find state/spool -type f | wc -l | sed 's/^/jobs /'
rm state/fill.*
give one
"#,
    );
    let Some(ran) = ran else { return };
    assert!(ran.stdout.contains("deferred reason=spool"), "{ran:?}");
    let (full, after) = ran.stdout.split_once("one status 75").expect("75 while it is full");
    assert!(after.contains("jobs 0") && after.contains("one status 0"), "{full}{after}");
    assert_eq!((site.read("runs").lines().count(), site.answers().len()), (1, 1));
}

/// The reserve gives up its inodes.
#[test]
fn a_disk_out_of_inodes_still_takes_a_request() {
    let site = unmade();
    let ran = on_tmpfs(
        &site,
        "size=2m,nr_inodes=64",
        r#"
sh ask count >one
i=0; while touch state/file.$i 2>/dev/null; do i=$((i + 1)); done
give one
"#,
    );
    let Some(ran) = ran else { return };
    assert!(ran.stdout.contains("one status 0"), "{ran:?}");
    assert_eq!((site.read("runs").lines().count(), site.answers().len()), (1, 1), "{ran:?}");
}

// ---------------------------------------------------------------- a mail system that does not take it

/// An answer was not taken: it is owed, it is tried again when it is due and not before, and handed over once.
fn is_owed_and_then_sent_once(
    site: &Site,
    asked: &Asked,
    tries: impl Fn() -> usize,
    mend: impl Fn(),
) {
    let state = asked.state(site).unwrap();
    assert_eq!((state.answer, state.tried.map(|(times, _)| times)), (Answer::Owed, Some(1)));
    assert_eq!(asked.runs(site), 1);
    let (before, journal) = (tries(), fs::read(asked.job(site)).unwrap());
    let early = site.tool(&["resume", "--wait"]);
    assert_eq!(early.status, 1, "not due, and still unsent: {early:?}");
    assert_eq!(tries(), before, "it was tried before it was due");
    assert_eq!(fs::read(asked.job(site)).unwrap(), journal, "what is not due is not touched");
    asked.age_last_try(site, Duration::from_secs(61));
    let late = site.tool(&["resume", "--wait"]);
    assert_eq!((late.status, tries()), (1, before + 1), "due, and still not taken: {late:?}");
    assert_eq!(asked.state(site).unwrap().tried.unwrap().0, 2);
    // the second pause is five minutes
    asked.age_last_try(site, Duration::from_secs(240));
    assert_eq!((site.tool(&["resume", "--wait"]).status, tries()), (1, before + 1));
    asked.age_last_try(site, Duration::from_secs(61));
    mend();
    assert_eq!(site.tool(&["resume", "--wait"]).status, 0);
    assert_eq!(asked.state(site).unwrap().answer, Answer::HandedOver);
    let after = tries();
    assert_eq!(site.tool(&["resume", "--wait"]).status, 0);
    assert_eq!(site.deliver(&asked.mail).status, 1);
    assert_eq!((tries(), asked.runs(site)), (after, 1), "once is enough");
}

#[test]
fn a_sendmail_that_dies_or_refuses_is_asked_again_later() {
    for mode in ["75", "1", "die", "half"] {
        let site = with_sendmail();
        site.write("mode", mode);
        let asked = Asked::new(&site, &["count"]);
        let ran = site.deliver(&asked.mail);
        assert_eq!(ran.status, 0, "{mode}: {ran:?}");
        assert!(ran.stderr.contains("unanswered"), "{mode}: {ran:?}");
        let tries = || site.read("calls").lines().count();
        is_owed_and_then_sent_once(&site, &asked, tries, || site.write("mode", "ok"));
        assert_eq!(site.answers().len(), 1, "{mode}");
    }
}

#[test]
fn a_sendmail_that_hangs_is_stopped_and_asked_again() {
    let site = with_sendmail();
    site.write("mode", "hang-once");
    let asked = Asked::new(&site, &["count"]);
    let begun = std::time::Instant::now();
    let ran = site.deliver(&asked.mail);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stderr.contains("took longer than 60s"), "{ran:?}");
    assert!(begun.elapsed() >= Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(asked.state(&site).unwrap().tried.unwrap().0, 1);
    asked.age_last_try(&site, Duration::from_secs(61));
    assert_eq!(site.tool(&["resume", "--wait"]).status, 0);
    assert_eq!((asked.runs(&site), site.answers().len()), (1, 1));
}

#[test]
fn a_notice_that_hangs_delays_a_command_by_ten_seconds() {
    let site = with_sendmail();
    site.write("mode", "hang-once");
    let asked = Asked::new(&site, &["soon"]);
    let begun = std::time::Instant::now();
    let ran = site.deliver(&asked.mail);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(begun.elapsed() >= Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(ran.stderr.contains("unanswered") && ran.stderr.contains("stage=notice"), "{ran:?}");
    assert!(ran.stderr.contains("took longer than 10s"), "{ran:?}");
    assert_eq!((asked.runs(&site), site.answers().len()), (1, 1), "the result alone");
}

/// What was claimed before is answered once the mail system is back.
#[test]
fn without_its_sendmail_the_program_defers_and_answers_later() {
    let site = with_sendmail();
    site.write("mode", "75");
    let before = Asked::new(&site, &["count"]);
    assert_eq!(site.deliver(&before.mail).status, 0);
    fs::rename(site.path("sendmail"), site.path("away")).unwrap();
    let after = Asked::new(&site, &["count"]);
    let ran = site.deliver(&after.mail);
    assert_eq!(ran.status, 75, "{ran:?}");
    assert!(ran.stderr.contains("sendmail"), "it does not say what is missing: {ran:?}");
    assert!(!after.job(&site).exists());
    assert_eq!(site.tool(&["resume", "--wait"]).status, 75);
    fs::rename(site.path("away"), site.path("sendmail")).unwrap();
    site.write("mode", "ok");
    before.age_last_try(&site, Duration::from_secs(61));
    assert_eq!(site.tool(&["resume", "--wait"]).status, 0);
    assert_eq!(site.deliver(&after.mail).status, 0);
    assert_eq!((before.runs(&site), after.runs(&site), site.answers().len()), (1, 1, 2));
}

/// What a mail server does at one step of a conversation; at the others it is good.
#[derive(Clone, Copy, Debug)]
enum Mischief {
    Drop,
    Say(&'static str),
}

#[derive(Default)]
struct Ledger {
    mischief: Option<(usize, Mischief)>,
    conversations: usize,
    mails: Vec<String>,
}

/// A mail server of one thread, which ends with the value.
struct Server {
    port: u16,
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// The steps of a conversation.
const STEPS: [&str; 6] = ["banner", "EHLO", "MAIL", "RCPT", "DATA", "."];

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (ledger, stop) =
            (Arc::new(Mutex::new(Ledger::default())), Arc::new(AtomicBool::new(false)));
        let (ours, stopped) = (Arc::clone(&ledger), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // a client that goes away ends a conversation and nothing else
                drop(Self::converse(stream.unwrap(), &ours));
            }
        });
        Self { port, ledger, stop, thread: Some(thread) }
    }

    fn converse(stream: TcpStream, ledger: &Mutex<Ledger>) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mischief = {
            let mut ledger = ledger.lock().unwrap();
            ledger.conversations += 1;
            ledger.mischief
        };
        let mut out = stream.try_clone()?;
        let mut lines = BufReader::new(stream).lines();
        let mut reply = |step: &str, good: &str| match mischief {
            Some((at, Mischief::Drop)) if STEPS[at] == step => {
                Err(std::io::Error::other("dropped"))
            }
            Some((at, Mischief::Say(bad))) if STEPS[at] == step => write!(out, "{bad}\r\n"),
            _ => write!(out, "{good}\r\n"),
        };
        reply("banner", "220 mx.example.com ESMTP")?;
        while let Some(line) = lines.next() {
            let line = line?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" | "HELO" => reply("EHLO", "250 mx.example.com")?,
                "MAIL" => {
                    assert!(line.contains("<>"), "a sender that is not null: {line}");
                    reply("MAIL", "250 ok")?;
                }
                "RCPT" => reply("RCPT", "250 ok")?,
                "DATA" => {
                    reply("DATA", "354 go on")?;
                    if matches!(mischief, Some((4, _))) {
                        continue;
                    }
                    let mut mail = String::new();
                    for line in lines.by_ref() {
                        let line = line?;
                        if line == "." {
                            break;
                        }
                        mail.push_str(&line);
                        mail.push('\n');
                    }
                    // before the client knows, and looks
                    if !matches!(mischief, Some((5, _))) {
                        ledger.lock().unwrap().mails.push(mail);
                    }
                    reply(".", "250 taken")?;
                }
                "QUIT" => return reply("QUIT", "221 bye"),
                _ => reply("other", "250 ok")?,
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        drop(self.thread.take().map(std::thread::JoinHandle::join));
    }
}

#[test]
fn a_server_failing_at_any_step_gets_the_answer_later() {
    let server = Server::start();
    let site = site();
    site.configure("transport   = \"file\"", "transport   = \"smtp\"");
    site.configure(
        "[answer.file]",
        &format!("[answer.smtp]\nhost = \"127.0.0.1\"\nport = {}\n\n[answer.file]", server.port),
    );
    let all = [
        Mischief::Drop,
        Mischief::Say("451 later"),
        Mischief::Say("554 never"),
        Mischief::Say("42"),
    ];
    for (step, name) in STEPS.into_iter().enumerate() {
        for (n, mischief) in all.into_iter().enumerate() {
            // in the short run two at each step, in turn
            if !long() && n != step % 4 && n != (step + 1) % 4 {
                continue;
            }
            server.ledger.lock().unwrap().mischief = Some((step, mischief));
            let asked = Asked::new(&site, &["count"]);
            let ran = site.deliver(&asked.mail);
            let what = format!("{mischief:?} at {name}");
            assert_eq!(ran.status, 0, "{what}: {ran:?}");
            assert!(ran.stderr.contains("unanswered"), "{what}: {ran:?}");
            let tries = || server.ledger.lock().unwrap().conversations;
            let mend = || server.ledger.lock().unwrap().mischief = None;
            is_owed_and_then_sent_once(&site, &asked, tries, mend);
            let mails = std::mem::take(&mut server.ledger.lock().unwrap().mails);
            assert_eq!(mails.len(), 1, "{what}");
            assert!(mails[0].contains(&asked.cti()), "{what}: {}", mails[0]);
            fs::remove_file(asked.job(&site)).unwrap();
        }
    }
}

#[test]
fn an_answer_nobody_takes_for_five_days_is_given_up() {
    let Some(strace) = strace() else { return };
    let site = with_sendmail();
    site.write("mode", "75");
    let options = ["-etrace=sendto".to_owned()];
    for (age, given_up) in [(4 * 86400, false), (5 * 86400 + 3600, true)] {
        let asked = Asked::new(&site, &["count"]);
        let (begun, mail) =
            (now().before(Duration::from_secs(age)), Some(b"To: a\n\nx\n".to_vec()));
        let mut records = vec![
            asked.claimed(begun),
            Record::Running { at: begun, boot: boot() },
            Record::Finished { at: begun, end: End::Exited(0), duration: None, mail },
        ];
        // tried as often as it would have been by then, and due again
        for hours in (0..age / 3600 - 6).step_by(6) {
            records.push(Record::Tried { at: begun.after(Duration::from_secs(hours * 3600)) });
        }
        asked.forge(&site, &records);
        let resumed = traced(&site, &strace, &options, &["resume", "--wait"], "");
        assert_eq!(resumed.ran.status, i32::from(!given_up), "{:?}", resumed.ran);
        let answer = asked.state(&site).unwrap().answer;
        assert_eq!(answer, if given_up { Answer::GivenUp } else { Answer::Owed });
        let logged = resumed.log().iter().any(|line| line.starts_with("given-up"));
        assert_eq!(logged, given_up, "{:?}", resumed.log());
        assert_eq!(asked.runs(&site), 0);
        fs::remove_file(asked.job(&site)).unwrap();
    }
}

#[test]
fn an_answer_is_not_given_up_before_it_was_offered_once() {
    // a machine that was switched off for a week right after the command had ended
    let site = with_sendmail();
    site.write("mode", "ok");
    let asked = Asked::new(&site, &["count"]);
    let begun = now().before(Duration::from_secs(7 * 86400));
    let mail = Some(b"To: a\n\nx\n".to_vec());
    asked.forge(
        &site,
        &[
            asked.claimed(begun),
            Record::Running { at: begun, boot: "another".into() },
            Record::Finished { at: begun, end: End::Exited(0), duration: None, mail },
        ],
    );
    let resumed = site.tool(&["resume", "--wait"]);
    assert_eq!(asked.state(&site).unwrap().answer, Answer::HandedOver, "{resumed:?}");
    assert_eq!(site.read("calls").lines().count(), 1);
}

// ---------------------------------------------------------------- files that are damaged

#[test]
fn a_truncated_job_runs_only_if_its_start_is_lost() {
    let site = site();
    let asked = Asked::new(&site, &["say", "the words"]);
    assert_eq!(site.deliver(&asked.mail).status, 0);
    let whole = fs::read(asked.job(&site)).unwrap();
    let ends: Vec<usize> =
        whole.iter().enumerate().filter(|(_, c)| **c == b'\n').map(|(at, _)| at).collect();
    let (claim, start) = (ends[0], ends[1]);
    let mut wrong = Vec::new();
    for cut in 0..whole.len() {
        let near_an_end = ends.iter().any(|end| cut.abs_diff(*end) < 4);
        if !(long() || near_an_end || cut.is_multiple_of(if cut < start { 5 } else { 37 })) {
            continue;
        }
        asked.write(&site, &whole[..cut]);
        site.tool(&["resume", "--wait"]);
        let state = asked.state(&site);
        let end = state.as_ref().and_then(|state| state.finished.as_ref()).map(|f| f.end.clone());
        // a line that lacks only its line end did happen
        let expected = match cut {
            _ if cut < claim => None,
            _ if cut < start => Some(End::Exited(0)),
            _ if cut < ends[2] => Some(End::Unknown),
            _ => Some(End::Exited(0)),
        };
        if end != expected {
            wrong.push(format!("cut at {cut} of {ends:?}: {end:?}, not {expected:?}"));
        }
        if expected.is_some() && state.is_none_or(|state| !state.is_over()) {
            wrong.push(format!("cut at {cut}: nobody is answered"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Nothing but what was asked for, and that once at most.
#[test]
fn a_job_with_a_flipped_bit_runs_nothing_else() {
    let site = site();
    let asked = Asked::new(&site, &["count"]);
    assert_eq!(site.deliver(&asked.mail).status, 0);
    let whole = fs::read(asked.job(&site)).unwrap();
    let claim = whole.iter().position(|c| *c == b'\n').unwrap() + 1;
    let start = claim + whole[claim..].iter().position(|c| *c == b'\n').unwrap() + 1;
    let (mut cases, mut wrong) = (0, Vec::new());
    // claimed only, begun, and ended; the last two have run already
    for (kept, ran_before, step) in [(claim, 0, 7), (start, 1, 11), (whole.len(), 1, 61)] {
        let step = if long() { 1 } else { step };
        for bit in (0..kept * 8).step_by(step) {
            let mut flipped = whole[..kept].to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(site.path("runs"), "").unwrap();
            asked.write(&site, &flipped);
            site.tool(&["resume", "--wait"]);
            cases += 1;
            let runs = site.read("runs").lines().count();
            if runs + ran_before > 1 {
                wrong.push(format!("bit {bit} of {kept} octets: it ran {runs} times more"));
            }
            if runs != asked.runs(&site) {
                wrong.push(format!("bit {bit} of {kept} octets: something else ran"));
            }
        }
    }
    eprintln!("faults: {cases} flipped bits in a job, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_damaged_marker_defers_everything() {
    let site = site();
    let asked = Asked::new(&site, &["count"]);
    let marker = site.path("state/marker");
    let whole = fs::read(&marker).unwrap();
    let mut broken: Vec<Vec<u8>> = Vec::new();
    for cut in (0..whole.len() - 1).step_by(if long() { 1 } else { 5 }) {
        broken.push(whole[..cut].to_vec());
    }
    for bit in (0..(whole.len() - 1) * 8).step_by(if long() { 1 } else { 13 }) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        broken.push(flipped);
    }
    for (n, octets) in broken.iter().enumerate() {
        // in place: the inode stays
        fs::write(&marker, octets).unwrap();
        let ran = site.deliver(&asked.mail);
        assert_eq!(ran.status, 75, "{:?}: {ran:?}", String::from_utf8_lossy(octets));
        assert!(ran.stderr.contains("deferred reason=spool"), "{ran:?}");
        if n.is_multiple_of(10) {
            assert_eq!(site.tool(&["resume", "--wait"]).status, 75);
        }
    }
    assert!(!asked.job(&site).exists());
    fs::write(&marker, &whole).unwrap();
    assert_eq!(site.deliver(&asked.mail).status, 0);
    assert_eq!((asked.runs(&site), asked.answers(&site).len()), (1, 1));
}

#[test]
fn a_damaged_job_is_left_alone_and_logged_each_time() {
    let Some(strace) = strace() else { return };
    let site = site();
    let asked = Asked::new(&site, &["count"]);
    let claim = asked.claimed(now()).to_line();
    let options = ["-etrace=sendto".to_owned()];
    // not a journal, and one with the hole that a power cut makes
    for octets in ["x\n".to_owned(), format!("{claim}{}\n", "\0".repeat(30))] {
        asked.write(&site, octets.as_bytes());
        for _ in 0..2 {
            let resumed = traced(&site, &strace, &options, &["resume", "--wait"], "");
            let log = resumed.log();
            let damaged = format!("damaged job={}", asked.name);
            assert!(log.iter().any(|line| line.starts_with(&damaged)), "{octets:?}: {log:?}");
            assert_eq!(fs::read_to_string(asked.job(&site)).unwrap(), octets);
        }
    }
    assert_eq!((asked.runs(&site), asked.answers(&site).len()), (0, 0));
}

#[test]
fn a_job_under_another_name_is_not_run() {
    let site = site();
    let asked = Asked::new(&site, &["count"]);
    assert_eq!(site.deliver(&asked.mail).status, 0);
    let other = Asked::new(&site, &["count"]);
    // the claim of the first under the name of the second
    other.write(&site, asked.claimed(now()).to_line().as_bytes());
    site.tool(&["resume", "--wait"]);
    assert_eq!(asked.runs(&site) + other.runs(&site), 1, "{:?}", site.read("runs"));
}

#[test]
fn a_job_that_cannot_be_resumed_holds_up_no_other() {
    let site = site();
    let good = Asked::new(&site, &["count"]);
    for strange in ["open to others", "a symbolic link", "a directory", "damaged"] {
        // resume takes them in the order of their names, newest first: one on each side
        let around = ["f", "0"].map(|digit| {
            site.path("state/spool")
                .join(good.name.hour().to_string())
                .join(format!("alice.{}", digit.repeat(32)))
        });
        good.forge(&site, &[good.claimed(now())]);
        for path in &around {
            match strange {
                "open to others" => {
                    fs::copy(good.job(&site), path).unwrap();
                    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
                }
                "a symbolic link" => std::os::unix::fs::symlink(good.job(&site), path).unwrap(),
                "a directory" => fs::create_dir(path).unwrap(),
                _ => fs::write(path, "x\n").unwrap(),
            }
        }
        fs::write(site.path("runs"), "").unwrap();
        let resumed = site.tool(&["resume", "--wait"]);
        assert_eq!(
            site.read("runs").lines().count(),
            1,
            "beside one that is {strange}: {resumed:?}"
        );
        assert_eq!(good.state(&site).unwrap().answer, Answer::HandedOver, "{strange}: {resumed:?}");
        for path in &around {
            drop(fs::remove_file(path).or_else(|_| fs::remove_dir(path)));
        }
    }
}

#[test]
fn a_replay_whose_job_cannot_be_resumed_is_deferred() {
    let Some(strace) = strace() else { return };
    let site = site();
    let asked = Asked::new(&site, &["count"]);
    asked.forge(&site, &[asked.claimed(now())]);
    fs::set_permissions(asked.job(&site), fs::Permissions::from_mode(0o644)).unwrap();
    let options = ["-etrace=sendto".to_owned()];
    let replayed = traced(&site, &strace, &options, &DELIVER, &asked.mail);
    let log = replayed.log();
    assert!(log.iter().any(|line| line.contains("somebody else could have written")), "{log:?}");
    assert_eq!((replayed.ran.status, asked.runs(&site)), (75, 0));
}
