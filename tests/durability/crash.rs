//! Crash points: each of our processes is killed at every system call that changes the world, and at random times
//! under load. Then the mail comes again, or the machine is rebooted, and `resume` is run. Nothing is done twice,
//! and everybody whose request was claimed is answered.
//!
//! strace(1) kills: a signal that it injects is delivered on entering the call, so the call itself is not done. It
//! counts by call and by process, so a point is "the third write of this process". `exit_group` is the last point of
//! every process: killed after everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netsysrq_mail::protocol::job::outcome::End;
use netsysrq_mail::protocol::job::state::{Answer, State};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal, set_child_subreaper,
};

use crate::ground::{Asked, Ground, Mode, in_boot, long, now, null, processes, quiet, write_seen};
use crate::strace::strace;
use crate::support::{PROGRAM, eventually, missing, needed, run};

/// What changes the world, or starts or ends a process. A question mark: not every machine has it.
const WORLD: &str = "?open,openat,?creat,write,pwrite64,writev,fsync,fdatasync,sync,fallocate,ftruncate,?mkdir,\
                     mkdirat,?rename,?renameat,renameat2,?link,linkat,?unlink,unlinkat,?rmdir,?symlink,symlinkat,\
                     flock,?fork,?vfork,clone,clone3,execve,kill,?pidfd_send_signal,sendto,sendmsg,memfd_create,\
                     ?chmod,fchmod,fchmodat,prctl,setsid,setgroups,setresgid,setresuid,exit_group";
/// What starts a process or a thread.
const BIRTHS: &str = "?fork,?vfork,clone,clone3";
/// The keys that are pressed.
const KEYS: &str = "sub";

// ---------------------------------------------------------------- kinds, modes, victims

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Before,
    Command,
    Denied,
    Expired,
    Keys,
    Ping,
}

impl Kind {
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Before => &["soon"],
            Self::Command | Self::Expired => &["count"],
            Self::Denied => &["unheard-of"],
            Self::Keys => &["sysrq", KEYS],
            Self::Ping => &["ping"],
        }
    }

    /// How it ends if nothing interferes.
    fn end(self) -> End {
        match self {
            Self::Before | Self::Command => End::Exited(0),
            Self::Denied | Self::Expired => End::Unrun,
            Self::Keys | Self::Ping => End::Done,
        }
    }

    fn is_command(self) -> bool {
        matches!(self, Self::Before | Self::Command)
    }

    fn is_announced(self) -> bool {
        matches!(self, Self::Before | Self::Keys)
    }

    /// Whether there is something that must not be done twice.
    fn acts(self) -> bool {
        self.is_command() || self == Self::Keys
    }
}

/// The process that strace kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The first delivery.
    Deliver,
    /// A delivery and everything that it starts: each of them that comes to the call, so it may be several.
    Family,
    /// The second delivery of a request that was claimed and not started.
    Redeliver,
    /// `resume` of a request that was claimed and not started.
    Resume,
    /// `resume` of a request that was being run, in another boot.
    ResumeBack,
    /// `resume` of a request that was being run.
    ResumeBegun,
    /// The runner, with the job and its lock as its standard input.
    Runner,
    /// What is between the runner and the command.
    Stage,
}

impl Victim {
    fn all(kind: Kind, mode: Mode) -> Vec<Self> {
        let mut all = vec![Self::Deliver, Self::Redeliver, Self::Resume];
        match mode {
            Mode::Detached => all.extend([Self::Family, Self::Runner]),
            Mode::Wait if kind.acts() => all.extend([Self::ResumeBack, Self::ResumeBegun]),
            Mode::Wait => {}
        }
        if kind.is_command() {
            all.push(Self::Stage);
        }
        all
    }

    /// Whether strace follows the victim's children.
    fn is_tree(self) -> bool {
        matches!(self, Self::Family | Self::Stage)
    }

    /// Whether a process may survive that carries the job to its end.
    fn leaves_survivors(self, mode: Mode) -> bool {
        let detaches = matches!(self, Self::Deliver | Self::Redeliver | Self::Resume);
        self.is_tree() || (detaches && mode == Mode::Detached)
    }
}

/// What happens after the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// The mail comes again; `resume`.
    Redelivered,
    /// `resume`; the mail comes again.
    Resumed,
    /// Another boot: the mail comes again; `resume`.
    Rebooted,
    /// The mail comes again; another boot: `resume`.
    RedeliveredRebooted,
}

impl After {
    const ALL: [Self; 4] =
        [Self::Redelivered, Self::Rebooted, Self::Resumed, Self::RedeliveredRebooted];
}

/// Where a process is killed, and what comes then.
#[derive(Clone, Debug)]
struct Point {
    victim: Victim,
    call: String,
    nth: usize,
    after: After,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} killed at {} {}, {:?}", self.victim, self.call, self.nth, self.after)
    }
}

// ---------------------------------------------------------------- scenes

impl Ground {
    fn ask(&self, kind: Kind) -> Asked {
        if kind != Kind::Expired {
            return Asked::new(&self.site, kind.words());
        }
        let issued = now().before(Duration::from_secs(60));
        Asked::at(&self.site, issued, Duration::from_secs(30), kind.words())
    }

    /// Runs the program under strace; with `kill`, SIGKILLs the process that enters that call for the nth time.
    fn trace(&self, mut traced: Traced, kill: Option<(&str, usize)>) -> Trace {
        let output = self.site.path("trace");
        let mut command = in_boot("/usr/bin/strace", traced.boot.as_deref());
        command.arg("-o").arg(&output);
        match kill {
            Some((calls, nth)) => {
                if traced.tree {
                    command.arg("-f");
                }
                command.args(["-e", &format!("trace={calls}")]);
                command.args(["-e", &format!("inject={calls}:signal=KILL:when={nth}")]);
            }
            None => {
                command.args(["-f", "-e", &format!("trace={WORLD}")]);
            }
        }
        command.arg(PROGRAM).args(&traced.words);
        if traced.bare {
            command.env_clear().current_dir("/");
        }
        quiet(&mut command, traced.stdin.take().unwrap());
        let mut child = command.spawn().unwrap();
        // it has the job's lock
        drop(command);
        let status = child.wait().unwrap();
        let text = fs::read_to_string(&output).unwrap();
        // strace dies of what its child died of, and may leave the last line unwritten
        let killed = text.contains("+++ killed by SIGKILL +++") || status.signal() == Some(9);
        Trace { killed, main: status.signal(), text }
    }

    /// Leaves a request claimed, and its delivery dead before it could start a runner.
    fn claimed(&self, asked: &Asked) {
        let traced = Traced::deliver(self, asked, Mode::Detached, true);
        let trace = self.trace(traced, Some((BIRTHS, 1)));
        assert_eq!(trace.main, Some(9), "{}", trace.text);
        let state = self.state(asked).expect("claimed");
        assert!(state.started.is_none() && state.finished.is_none(), "{state:?}");
    }

    /// Leaves a request begun, and its runner dead before the first effect.
    fn begun(&self, kind: Kind, asked: &Asked) {
        // keys have their threads before they are announced, and sync(2) is called by one of them
        let keys = kind == Kind::Keys;
        let traced = Traced::deliver(self, asked, Mode::Wait, keys);
        let trace = self.trace(traced, Some((if keys { "sync" } else { BIRTHS }, 1)));
        assert_eq!(trace.main, Some(9), "{}", trace.text);
        let state = self.state(asked).expect("claimed");
        assert!(state.started.is_some() && state.finished.is_none(), "{state:?}");
    }

    /// Sets the scene for a victim, and returns what to trace.
    fn scene(&self, kind: Kind, mode: Mode, victim: Victim, asked: &Asked) -> Traced {
        // a claim notes the time only if it is newer
        write_seen(&self.site, 0);
        if kind == Kind::Keys {
            fs::write(self.site.path("trigger"), "").unwrap();
        }
        match (victim, mode) {
            (Victim::Deliver, _) => Traced::deliver(self, asked, mode, false),
            (Victim::Family, _) | (Victim::Stage, Mode::Wait) => {
                Traced::deliver(self, asked, mode, true)
            }
            (Victim::Redeliver, _) => {
                self.claimed(asked);
                Traced::deliver(self, asked, mode, false)
            }
            (Victim::Resume, _) => {
                self.claimed(asked);
                Traced::resume(self, mode)
            }
            (Victim::ResumeBack, _) => {
                self.begun(kind, asked);
                Traced { boot: Some(self.reboot()), ..Traced::resume(self, mode) }
            }
            (Victim::ResumeBegun, _) => {
                self.begun(kind, asked);
                Traced::resume(self, mode)
            }
            (Victim::Runner, _) => {
                self.claimed(asked);
                Traced::runner(self, asked, false)
            }
            (Victim::Stage, Mode::Detached) => {
                self.claimed(asked);
                Traced::runner(self, asked, true)
            }
        }
    }

    /// The points of a victim, from a run in which nobody is killed.
    fn points(&self, kind: Kind, mode: Mode, victim: Victim) -> Vec<(String, usize)> {
        let asked = self.ask(kind);
        let traced = self.scene(kind, mode, victim, &asked);
        let trace = self.trace(traced, None);
        assert!(!trace.killed && trace.main.is_none(), "{}", trace.text);
        self.resume_to_the_end(&asked, None);
        let points = calls(&trace.text, victim);
        assert!(!points.is_empty(), "{victim:?}: {}", trace.text);
        points
    }
}

/// What strace is to run.
struct Traced {
    words: Vec<String>,
    stdin: Option<File>,
    tree: bool,
    bare: bool,
    boot: Option<PathBuf>,
}

impl Traced {
    fn deliver(ground: &Ground, asked: &Asked, mode: Mode, tree: bool) -> Self {
        let stdin = Some(asked.as_stdin());
        Self { words: ground.deliver_words(mode), stdin, tree, bare: false, boot: None }
    }

    fn resume(ground: &Ground, mode: Mode) -> Self {
        let stdin = Some(null());
        Self { words: ground.resume_words(mode), stdin, tree: false, bare: false, boot: None }
    }

    /// As a delivery detaches it: the job's file, with its lock, is standard input.
    fn runner(ground: &Ground, asked: &Asked, tree: bool) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(asked.job(&ground.site)).unwrap();
        eventually("the lock of a dead delivery is free", || file.try_lock().is_ok());
        let (config, name) = (ground.config(), asked.name.to_string());
        let words = ["resume", "--config", &config, "--only", &name].map(ToOwned::to_owned);
        Self { words: words.to_vec(), stdin: Some(file), tree, bare: true, boot: None }
    }
}

struct Trace {
    killed: bool,
    main: Option<i32>,
    text: String,
}

/// Reads a trace: the calls of the victim that change the world, each counted among those of its name.
fn calls(trace: &str, victim: Victim) -> Vec<(String, usize)> {
    #[derive(Default)]
    struct Process {
        counts: BTreeMap<String, usize>,
        points: Vec<(String, usize)>,
        is_stage: bool,
        is_command: bool,
    }
    let mut processes: Vec<(String, Process)> = Vec::new();
    for line in trace.lines() {
        let (pid, rest) = line.trim_start().split_once(' ').unwrap();
        let rest = rest.trim_start();
        let Some((call, arguments)) = rest.split_once('(').filter(|(call, _)| is_word(call)) else {
            continue;
        };
        let known = processes.iter().position(|(known, _)| known == pid);
        let at = known.unwrap_or_else(|| {
            processes.push((pid.to_owned(), Process::default()));
            processes.len() - 1
        });
        let first = processes.len() == 1 && processes[0].1.counts.is_empty();
        let process = &mut processes[at].1;
        if first && call == "execve" && known.is_none() {
            // strace's own start of the program does not count
            process.counts.insert(call.to_owned(), 0);
            continue;
        }
        let count = process.counts.entry(call.to_owned()).or_default();
        *count += 1;
        let nth = *count;
        process.is_stage |= call == "execve" && arguments.contains("\"launch\"");
        if !process.is_command && changes_the_world(call, arguments) {
            process.points.push((call.to_owned(), nth));
        }
        process.is_command |= call == "execve" && !arguments.starts_with("\"/proc/self/exe\"");
    }
    match victim {
        Victim::Family => {
            let all: BTreeSet<(String, usize)> =
                processes.into_iter().flat_map(|(_, process)| process.points).collect();
            all.into_iter().collect()
        }
        Victim::Stage => {
            // strace counts per process: only a count that no other process reaches hits the stage alone
            let others = |call: &str| {
                let others = processes.iter().filter(|(_, process)| !process.is_stage);
                others.filter_map(|(_, process)| process.counts.get(call)).max().copied()
            };
            let stages = processes.iter().filter(|(_, process)| process.is_stage);
            let points = stages.flat_map(|(_, process)| process.points.clone());
            points.filter(|(call, nth)| others(call).unwrap_or(0) < *nth).collect()
        }
        Victim::Deliver
        | Victim::Redeliver
        | Victim::Resume
        | Victim::ResumeBack
        | Victim::ResumeBegun
        | Victim::Runner => processes.swap_remove(0).1.points,
    }
}

fn is_word(call: &str) -> bool {
    !call.is_empty() && call.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

fn changes_the_world(call: &str, arguments: &str) -> bool {
    match call {
        "open" | "openat" => arguments.contains("O_CREAT") || arguments.contains("O_TRUNC"),
        "write" | "writev" => !arguments.starts_with("1, ") && !arguments.starts_with("2, "),
        "prctl" => arguments.starts_with("PR_SET_NO_NEW_PRIVS"),
        _ => true,
    }
}

// ---------------------------------------------------------------- striking

/// What is left of a request.
struct Struck {
    asked: Asked,
    about: String,
    /// The process that was killed, if that is known.
    victim: Option<Victim>,
    /// Whether the request was claimed at the kill, and whether it had begun.
    at_kill: &'static str,
    state: State,
    /// What was pressed, where keys were asked for.
    pressed: Option<String>,
}

/// Kills at one point, lets the rest happen, and notes what is wrong at once.
fn strike(ground: &Ground, kind: Kind, mode: Mode, point: &Point, faults: &mut Faults) -> Struck {
    let asked = ground.ask(kind);
    let traced = ground.scene(kind, mode, point.victim, &asked);
    let trace = ground.trace(traced, Some((&point.call, point.nth)));
    let about = format!("{kind:?} {mode:?}: {point}");
    faults.unless(trace.killed, || format!("{about}: was not come to\n{}", trace.text));
    let crash = ground.state(&asked);
    let at_kill = match &crash {
        None => "unclaimed",
        Some(State { finished: Some(_), .. }) => "finished",
        Some(State { started: Some(_), .. }) => "begun",
        Some(_) => "claimed",
    };
    let survivors = point.victim.leaves_survivors(mode);
    let again = |boot: Option<&Path>, faults: &mut Faults| {
        let status = ground.deliver(&asked, mode, boot);
        let expected = i32::from(crash.is_some());
        faults.unless(status == expected, || {
            format!("{about}: redelivery has status {status}, and was {at_kill}")
        });
        let over = ground.state(&asked).is_some_and(|state| state.is_over());
        faults.unless(over || mode == Mode::Detached || survivors, || {
            format!("{about}: a redelivery does not carry on what was {at_kill}")
        });
    };
    let boot = match point.after {
        After::Redelivered => {
            again(None, faults);
            None
        }
        After::Resumed => {
            ground.resume(None);
            again(None, faults);
            None
        }
        After::Rebooted => {
            let boot = ground.reboot();
            again(Some(&boot), faults);
            Some(boot)
        }
        After::RedeliveredRebooted => {
            again(None, faults);
            Some(ground.reboot())
        }
    };
    let state = ground.resume_to_the_end(&asked, boot.as_deref());
    let allowed = ends(kind, mode, point, crash.as_ref());
    let end = state.finished.as_ref().map(|finished| plain(&finished.end)).unwrap();
    faults.unless(allowed.contains(&end), || {
        format!("{about}: was {at_kill}, ended as {end:?}, should be one of {allowed:?}")
    });
    let pressed = (kind == Kind::Keys).then(|| ground.site.read("trigger"));
    Struck { asked, about, victim: Some(point.victim), at_kill, state, pressed }
}

/// An end without what differs from run to run.
fn plain(end: &End) -> End {
    match end {
        End::Back(_) => End::Back(None),
        End::NotStarted(_) => End::NotStarted(String::new()),
        End::Done
        | End::Exited(_)
        | End::Killed(_)
        | End::Stuck
        | End::TimedOut
        | End::Unknown
        | End::Unrun
        | End::WouldRun => end.clone(),
    }
}

/// How a request that was left like this may end.
fn ends(kind: Kind, mode: Mode, point: &Point, crash: Option<&State>) -> Vec<End> {
    let (full, not_started) = (kind.end(), End::NotStarted(String::new()));
    let back = if kind.is_announced() { End::Back(None) } else { End::Unknown };
    if !kind.acts() && kind != Kind::Ping {
        return vec![full];
    }
    if point.victim == Victim::Stage {
        return vec![End::Killed(9)];
    }
    if point.victim.leaves_survivors(mode) && crash.is_some() {
        return vec![full, back, not_started, End::Unknown, End::Killed(9)];
    }
    match crash {
        None => vec![full],
        Some(State { finished: Some(finished), .. }) => vec![plain(&finished.end)],
        Some(State { started: Some(_), .. }) => match (point.after, mode) {
            (After::Redelivered | After::Resumed, _) => vec![End::Unknown],
            (After::RedeliveredRebooted, Mode::Wait) => vec![End::Unknown],
            (After::RedeliveredRebooted, Mode::Detached) => vec![End::Unknown, back],
            (After::Rebooted, _) => vec![back],
        },
        Some(_) => match (point.after, mode) {
            (After::Redelivered | After::Resumed, _) => vec![full],
            (After::RedeliveredRebooted, Mode::Wait) => vec![full],
            (After::RedeliveredRebooted, Mode::Detached) => vec![full, not_started],
            (After::Rebooted, _) => vec![not_started],
        },
    }
}

/// What is wrong, all of it.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn unless(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.0.push(what());
        }
    }

    fn none(&self) {
        let count = self.0.len();
        assert!(self.0.is_empty(), "{count} faults:\n{}", self.0.join("\n"));
    }
}

/// Counts over points.
#[derive(Default)]
struct Tally {
    points: usize,
    runs: usize,
    most: usize,
    unanswered: usize,
    at_kill: BTreeMap<&'static str, usize>,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.points += other.points;
        self.runs += other.runs;
        self.most = self.most.max(other.most);
        self.unanswered += other.unanswered;
        for (word, count) in &other.at_kill {
            *self.at_kill.entry(word).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { points, runs, most, unanswered, at_kill } = self;
        write!(
            f,
            "{points} points, runs {runs}, never above 1 (max {most}), unanswered {unanswered}; \
             at the kill {at_kill:?}"
        )
    }
}

/// The mails of a site: for each nonce and stage, all that there are.
fn mails(ground: &Ground) -> BTreeMap<(String, String), Vec<String>> {
    let mut mails: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(ground.site.path("answers")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // a file that a dead process left unfinished is not a mail
        let Some(name) = name.strip_suffix(".eml").filter(|name| !name.starts_with('.')) else {
            continue;
        };
        let words: Vec<&str> = name.split('.').collect();
        let &[_, "alice", cti, stage] = words.as_slice() else { panic!("{name}") };
        let text = fs::read_to_string(&path).unwrap();
        mails.entry((cti.to_owned(), stage.to_owned())).or_default().push(text);
    }
    mails
}

fn message_id(mail: &str) -> &str {
    mail.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap_or_default()
}

/// Looks at everything that a site's requests have left.
fn judge(ground: &Ground, kinds: &[Kind], struck: &[Struck], faults: &mut Faults) -> Tally {
    ground.is_quiet();
    let (mails, runs) = (mails(ground), ground.site.read("runs"));
    let mut tally = Tally { points: struck.len(), ..Tally::default() };
    for (Struck { asked, about, victim, at_kill, state, pressed }, kind) in struck.iter().zip(kinds)
    {
        *tally.at_kill.entry(at_kill).or_default() += 1;
        let cti = asked.cti();
        let distinct = |stage: &str| {
            let found = mails.get(&(cti.clone(), stage.to_owned())).map_or(&[][..], Vec::as_slice);
            let ids: BTreeSet<&str> = found.iter().map(|mail| message_id(mail)).collect();
            let texts: BTreeSet<&String> = found.iter().collect();
            (ids.len(), texts.len())
        };
        let (notice, result, back) = (distinct("notice"), distinct("result"), distinct("back"));
        for (stage, (ids, texts)) in [("notice", notice), ("result", result), ("back", back)] {
            faults.unless(ids <= 1 && texts <= 1, || {
                format!("{about}: {ids} Message-IDs and {texts} texts of stage {stage}")
            });
        }
        let answers = result.0 + back.0;
        tally.unanswered += usize::from(answers == 0);
        faults.unless(answers == 1, || format!("{about}: {answers} answers"));
        let is_over = state.is_over() && state.answer == Answer::HandedOver;
        faults.unless(is_over, || format!("{about}: the answer is {:?}", state.answer));
        faults.unless(
            notice.0 == usize::from(kind.is_announced() && state.started.is_some())
                || (kind.is_announced() && state.started.is_none()),
            || format!("{about}: {} notices, begun {:?}", notice.0, state.started),
        );

        let ran = match pressed {
            None => runs.lines().filter(|line| *line == cti).count(),
            Some(pressed) => {
                faults.unless(KEYS.starts_with(pressed.as_str()), || {
                    format!("{about}: pressed {pressed:?}")
                });
                pressed.matches(&KEYS[..1]).count()
            }
        };
        tally.runs += ran;
        tally.most = tally.most.max(ran);
        faults.unless(ran <= 1, || format!("{about}: ran {ran} times"));
        let end = state.finished.as_ref().map(|finished| plain(&finished.end)).unwrap();
        let expected = match end {
            End::Exited(0) => 1..=1,
            End::Done if *kind == Kind::Keys => 1..=1,
            End::Unknown | End::Back(_) => 0..=1,
            // killed as the stage, or as the command that it had become
            End::Killed(_) => 0..=usize::from(*victim != Some(Victim::Stage)),
            End::Done
            | End::Exited(_)
            | End::NotStarted(_)
            | End::Stuck
            | End::TimedOut
            | End::Unrun
            | End::WouldRun => 0..=0,
        };
        faults.unless(expected.contains(&ran), || format!("{about}: {end:?}, and ran {ran} times"));
        let whole = pressed.as_deref().is_none_or(|pressed| end != End::Done || pressed == KEYS);
        faults.unless(whole, || format!("{about}: done, and pressed {pressed:?}"));
    }
    let known: BTreeSet<String> = struck.iter().map(|struck| struck.asked.cti()).collect();
    let strange = runs.lines().filter(|line| !known.contains(*line)).count();
    let warm = ground.site.read("warm").lines().count();
    faults.unless(strange == warm, || format!("{strange} runs of nobody's, not {warm}"));
    whole_spool(ground, &known, faults);
    tally
}

/// `log` reads every job, and `check` finds nothing wrong.
fn whole_spool(ground: &Ground, known: &BTreeSet<String>, faults: &mut Faults) {
    let log = ground.site.tool(&["log", "--json"]);
    faults.unless(log.status == 0 && log.stderr.is_empty(), || format!("log: {log:?}"));
    let mut told = BTreeSet::new();
    for line in log.stdout.lines() {
        let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else {
            faults.0.push(format!("log: {line}"));
            continue;
        };
        let over = value["answer"] == "handed over";
        faults.unless(over, || format!("log: not over: {line}"));
        told.extend(value["cti"].as_str().map(ToOwned::to_owned));
    }
    let missing: Vec<_> = known.iter().filter(|cti| !told.contains(*cti)).collect();
    faults.unless(missing.is_empty(), || format!("log: nothing of {missing:?}"));
    let check = ground.site.tool(&["check"]);
    faults.unless(check.status == 0, || format!("check: {check:?}"));
}

/// A site on which the files that come with the first request are there.
fn warmed_up() -> Ground {
    let ground = Ground::new();
    for kind in [Kind::Command, Kind::Expired] {
        let asked = ground.ask(kind);
        assert_eq!(ground.deliver(&asked, Mode::Wait, None), 0);
    }
    fs::write(ground.site.path("warm"), "a run\n").unwrap();
    assert_eq!(ground.resume(None), 0);
    ground
}

/// What the harness needs of the machine.
fn ready() -> bool {
    if strace().is_none() || needed("unshare").is_none() {
        return false;
    }
    let ground = Ground::new();
    let boot = ground.reboot();
    if run(in_boot(PROGRAM, Some(&boot)).arg("--version"), b"").status != 0 {
        missing("the right to mount (be root)");
        return false;
    }
    true
}

/// All points of a kind and a mode: everything is done once at most, and everybody is answered.
fn survive(kind: Kind, mode: Mode) {
    if !ready() {
        return;
    }
    let begun = Instant::now();
    let mut points = Vec::new();
    let mut counts = Vec::new();
    let ground = warmed_up();
    for victim in Victim::all(kind, mode) {
        let found = ground.points(kind, mode, victim);
        counts.push(format!("{victim:?} {}", found.len()));
        for (call, nth) in found {
            let afters = match () {
                // a boot that has ended does not come back
                () if victim == Victim::ResumeBack => &[After::Rebooted][..],
                () if long() => &After::ALL[..],
                () => &After::ALL[points.len() % 4..][..1],
            };
            points.extend(afters.iter().map(|after| Point {
                victim,
                call: call.clone(),
                nth,
                after: *after,
            }));
        }
    }
    // pressing keys is mostly waiting for the kernel's word
    let workers = if kind == Kind::Keys { 4 } else { 2 };
    let total = Mutex::new((Tally::default(), Faults::default()));
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let ground = warmed_up();
                let (mut struck, mut faults) = (Vec::new(), Faults::default());
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    struck.push(strike(&ground, kind, mode, point, &mut faults));
                }
                let tally = judge(&ground, &vec![kind; struck.len()], &struck, &mut faults);
                let mut total = total.lock().unwrap();
                total.0.add(&tally);
                total.1.0.extend(faults.0);
            });
        }
    });
    let (tally, faults) = total.into_inner().unwrap();
    let seconds = begun.elapsed().as_secs();
    eprintln!("{kind:?} {mode:?}: {tally}; {}; {seconds} s", counts.join(", "));
    faults.none();
    assert_eq!(tally.points, points.len());
}

#[test]
fn an_inline_command_runs_once_wherever_we_are_killed() {
    survive(Kind::Command, Mode::Wait);
}

#[test]
fn a_detached_command_runs_once_wherever_we_are_killed() {
    survive(Kind::Command, Mode::Detached);
}

#[test]
fn a_denial_is_answered_wherever_we_are_killed() {
    survive(Kind::Denied, Mode::Wait);
}

#[test]
fn a_detached_denial_is_answered_wherever_we_are_killed() {
    survive(Kind::Denied, Mode::Detached);
}

#[test]
fn expired_requests_are_only_answered_wherever_we_are_killed() {
    survive(Kind::Expired, Mode::Wait);
}

#[test]
fn detached_expired_requests_are_only_answered_wherever_we_are_killed() {
    survive(Kind::Expired, Mode::Detached);
}

#[test]
fn keys_are_pressed_once_and_answered_wherever_we_are_killed() {
    survive(Kind::Keys, Mode::Wait);
}

#[test]
fn detached_keys_are_pressed_once_and_answered_wherever_we_are_killed() {
    survive(Kind::Keys, Mode::Detached);
}

#[test]
fn an_announced_command_runs_once_wherever_we_are_killed() {
    survive(Kind::Before, Mode::Wait);
}

#[test]
fn a_detached_announced_command_runs_once_wherever_we_are_killed() {
    survive(Kind::Before, Mode::Detached);
}

#[test]
fn a_ping_is_answered_wherever_we_are_killed() {
    survive(Kind::Ping, Mode::Wait);
}

#[test]
fn a_detached_ping_is_answered_wherever_we_are_killed() {
    survive(Kind::Ping, Mode::Detached);
}

/// Its mails say that the keys are being pressed, and that the machine is back up.
#[test]
fn a_reboot_killed_after_its_last_key_is_pressed_once() {
    if !ready() {
        return;
    }
    let ground = warmed_up();
    let request = || Asked::new(&ground.site, &["reboot-safe"]);
    let asked = request();
    let scene = |asked| ground.scene(Kind::Keys, Mode::Wait, Victim::Deliver, asked);
    let trace = ground.trace(scene(&asked), None);
    assert_eq!(ground.site.read("trigger"), KEYS, "{}", trace.text);
    let lines: Vec<&str> = trace.text.lines().collect();
    let last_key = lines.iter().position(|line| line.contains("\"b\", 1) ")).expect("the key b");
    let writes = |lines: &[&str]| lines.iter().filter(|line| line.contains(" pwrite64(")).count();
    let nth = writes(&lines[..last_key]) + 1;
    assert!(writes(&lines[last_key..]) > 0, "{}", trace.text);

    let asked = request();
    let trace = ground.trace(scene(&asked), Some(("pwrite64", nth)));
    assert_eq!(trace.main, Some(9), "{}", trace.text);
    assert_eq!(ground.site.read("trigger"), KEYS);

    let boot = ground.reboot();
    assert_eq!(ground.deliver(&asked, Mode::Detached, Some(&boot)), 1);
    let state = ground.resume_to_the_end(&asked, Some(&boot));
    assert!(matches!(state.finished.unwrap().end, End::Back(_)));
    ground.is_quiet();
    assert_eq!(ground.site.read("trigger"), KEYS, "the sequence, once");
    let mails = mails(&ground);
    let mails: Vec<(&str, &str)> = mails
        .iter()
        .filter(|((cti, _), _)| *cti == asked.cti())
        .flat_map(|((_, stage), mails)| mails.iter().map(|mail| (stage.as_str(), mail.as_str())))
        .collect();
    let [("back", back), ("notice", notice)] = mails.as_slice() else { panic!("{mails:?}") };
    assert!(notice.contains("pressing s, u, b"), "{notice}");
    assert!(back.to_lowercase().contains("back"), "{back}");
}

// ---------------------------------------------------------------- random kills

/// Reproducible random numbers: splitmix64 (Steele, Lea, Flood, 2014).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    /// Pauses for at most this long.
    fn wait(&mut self, most: Duration) {
        let most = u64::try_from(most.as_micros()).unwrap().max(1);
        thread::sleep(Duration::from_micros(self.throw(most)));
    }
}

/// Whether a process descends from this test. As a subreaper it gets the orphans of its children.
fn is_ours(pid: Pid) -> bool {
    let mut pid = pid;
    for _ in 0..8 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // the name, in brackets, may have anything in it
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
        let parent = fields.split_whitespace().nth(1).and_then(|text| text.parse().ok());
        let Some(parent) = parent.and_then(Pid::from_raw) else { return false };
        if parent == getpid() {
            return true;
        }
        pid = parent;
    }
    false
}

/// Kills a process of this site that this test has started, directly or not, whose command line has `word`.
fn kill_one(ground: &Ground, word: &str) -> bool {
    let (root, word) = (ground.site.root().display().to_string(), format!(" {word}"));
    for (pid, _) in processes().iter().filter(|(_, words)| words.contains(&root)) {
        // the descriptor first, so that what is examined is what is killed
        let Ok(handle) = pidfd_open(*pid, PidfdFlags::empty()) else { continue };
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        let named = words.contains(&root) && words.contains(&word);
        if named && is_ours(*pid) && pidfd_send_signal(&handle, Signal::KILL).is_ok() {
            return true;
        }
    }
    false
}

fn start(ground: &Ground, words: &[String], stdin: File) -> Child {
    let mut command = Command::new(PROGRAM);
    quiet(&mut command, stdin);
    command.args(words).process_group(0).current_dir(ground.site.root()).spawn().unwrap()
}

/// Lets a child of ours live for a random time. Returns whether it was killed.
fn end(mut child: Child, dice: &mut Dice, most: Duration) -> bool {
    let begun = Instant::now();
    let span = Duration::from_micros(dice.throw(u64::try_from(most.as_micros()).unwrap().max(1)));
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() >= span {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        thread::sleep(span.saturating_sub(begun.elapsed()).min(Duration::from_millis(2)));
    }
    false
}

/// How long a delivery may live at most: it adapts to a machine that is at times fast and at times slow, so that about
/// half of them are killed.
struct Pace(AtomicU64);

impl Pace {
    /// About four times what a start of the program takes, under four at once.
    fn new(ground: &Ground) -> Self {
        let begun = Instant::now();
        for _ in 0..4 {
            ground.resume(None);
        }
        Self(AtomicU64::new(u64::try_from(begun.elapsed().as_micros()).unwrap()))
    }

    fn most(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    /// One more was killed, or ended by itself.
    fn follow(&self, killed: bool) {
        let most = self.0.load(Ordering::Relaxed);
        let step = most / 16;
        self.0.store(if killed { most + step } else { most - step }, Ordering::Relaxed);
    }
}

#[test]
fn random_kills_under_load_run_nothing_twice_and_answer_everybody() {
    let count = if long() { 10_000 } else { 500 };
    let seed = std::env::var("NETSYSRQ_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).unwrap();
        u64::from_le_bytes(seed)
    });
    eprintln!("NETSYSRQ_TEST_SEED={seed}");
    set_child_subreaper(Some(getpid())).unwrap();
    let begun = Instant::now();
    let ground = warmed_up();
    let pace = Pace::new(&ground);
    let done = AtomicBool::new(false);
    let next = AtomicUsize::new(0);
    let kills = [const { AtomicUsize::new(0) }; 4];
    let kinds = [Kind::Command, Kind::Command, Kind::Before, Kind::Denied, Kind::Ping];
    let asked = Mutex::new(Vec::new());
    let kill = |which: usize, killed: bool| {
        kills[which].fetch_add(usize::from(killed), Ordering::Relaxed);
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (ground, asked, next, kill, pace) = (&ground, &asked, &next, &kill, &pace);
                scope.spawn(move || {
                    let mut dice = Dice(seed.wrapping_add(worker));
                    while next.fetch_add(1, Ordering::Relaxed) < count {
                        let kind = kinds[usize::try_from(dice.throw(5)).unwrap()];
                        let mode =
                            [Mode::Wait, Mode::Detached][usize::try_from(dice.throw(2)).unwrap()];
                        let request = ground.ask(kind);
                        for delivery in 0..=dice.throw(2) {
                            let mut child =
                                start(ground, &ground.deliver_words(mode), request.as_stdin());
                            if mode == Mode::Detached && delivery == 0 && dice.throw(2) == 0 {
                                child.wait().unwrap();
                                dice.wait(pace.most() / 2);
                                kill(1, kill_one(ground, &format!("--only {}", request.name)));
                            } else {
                                let killed = end(child, &mut dice, pace.most());
                                pace.follow(killed);
                                kill(0, killed);
                            }
                            if dice.throw(8) == 0 {
                                kill(2, kill_one(ground, "launch"));
                            }
                        }
                        asked.lock().unwrap().push((kind, request));
                    }
                })
            })
            .collect();
        let resumer = scope.spawn(|| {
            let mut dice = Dice(seed.wrapping_add(99));
            while !done.load(Ordering::Relaxed) {
                let mode = [Mode::Wait, Mode::Detached][usize::try_from(dice.throw(2)).unwrap()];
                let child = start(&ground, &ground.resume_words(mode), null());
                let most = pace.most();
                // with thousands of jobs, reading them all takes a while
                let patience = [most, most * 20][usize::try_from(dice.throw(2)).unwrap()];
                kill(3, end(child, &mut dice, patience));
                dice.wait(most);
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        resumer.join().unwrap();
    });
    let asked = asked.into_inner().unwrap();
    let mut faults = Faults::default();
    ground.resume(None);
    let (mut struck, mut unclaimed, mut kinds) = (Vec::new(), 0, Vec::new());
    for (kind, asked) in asked {
        let claimed = ground.state(&asked);
        unclaimed += usize::from(claimed.is_none());
        let status = ground.deliver(&asked, Mode::Wait, None);
        faults.unless(status == i32::from(claimed.is_some()), || {
            format!("{}: the last delivery has status {status}", asked.name)
        });
        kinds.push(kind);
        struck.push((asked, claimed.is_none()));
    }
    eventually("nothing is left", || ground.resume(None) == 0);
    ground.is_quiet();
    assert_eq!(ground.resume(None), 0);
    let struck: Vec<Struck> = struck
        .into_iter()
        .zip(&kinds)
        .map(|((asked, was_unclaimed), kind)| {
            let about = format!("{kind:?} {}", asked.name);
            let state = ground.state(&asked).expect("claimed");
            let end = plain(&state.finished.as_ref().expect("finished").end);
            faults.unless(!was_unclaimed || end == kind.end(), || {
                format!("{about}: nobody interfered with the last delivery, and it is {end:?}")
            });
            let at_kill = if was_unclaimed { "unclaimed" } else { "claimed" };
            Struck { asked, about, victim: None, at_kill, state, pressed: None }
        })
        .collect();
    set_child_subreaper(None).unwrap();
    let tally = judge(&ground, &kinds, &struck, &mut faults);
    let kills = kills.map(AtomicUsize::into_inner);
    let seconds = begun.elapsed().as_secs();
    eprintln!(
        "random kills: {tally}; killed: deliver {}, runner {}, stage {}, resume {}; {seconds} s",
        kills[0], kills[1], kills[2], kills[3]
    );
    faults.none();
    assert!(unclaimed > 0 && unclaimed < count, "the kills came all too early or all too late");
    assert!(kills[0] * 4 > count, "hardly anybody was killed: {kills:?}");
}
