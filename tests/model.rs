//! A model of one nonce and everybody who may touch it, checked in all orders: two deliveries and a resume side by
//! side, prune, a mail system that says no, kills, reboots, power cuts, and a clock that steps.
//!
//! What a job's records mean is not modelled: [`State::new`], [`State::after`] and [`State::next`] are the program's
//! own, called with real [`Record`]s. Modelled are the order of system calls in `system/spool/` and `cli/`, and a
//! file system that keeps only what was synced: at a power cut a name, a bucket, the low-water mark and every record
//! that was not synced may be there or not. Each step of a process is one system call that changes the world, or a read
//! that decides what it does.
//!
//! A checker that finds nothing may be blind. So the second half breaks the model in the ways in which somebody may
//! one day break the program, and the checker must find each.

#![cfg(test)]
#![allow(clippy::too_many_lines, reason = "a table is as long as its cases")]
#![allow(clippy::disallowed_methods, reason = "says how long it took")]
#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows has failed")]

use std::time::Instant;

use netsysrq_mail::protocol::job::outcome::End;
use netsysrq_mail::protocol::job::record::Record;
use netsysrq_mail::protocol::job::state::{Damaged, GIVE_UP, Next, Notice, Owed, State};
use netsysrq_mail::protocol::ruling::Ruling;
use netsysrq_mail::protocol::time::Time;
use stateright::{Checker, HasDiscoveries, Model, Property};

/// The clock's three times: within the request's window, past its expiry, past the history (and past giving up).
const TIMES: [u64; 3] = [1_763_665_351, 1_763_665_351 + 7200, 1_763_665_351 + 40 * 86400];
const FORGETTABLE: usize = 2;
/// The processes: two deliveries with their runners, and a resume with its own.
const DELIVERIES: [usize; 2] = [0, 1];
const RESUME: usize = 2;
/// No more files than processes and names.
const INODES: usize = 5;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A command.
    Command,
    /// A command that ends the machine: announced before, "back" after.
    Announced,
    /// A command that the key may not run.
    Denied,
}

/// How the model may be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// Not at all.
    None,
    /// The command is started before the record that says so is synced.
    ActsBeforeItIsWritten,
    /// A claim's name is not synced.
    NameIsNotSynced,
    /// A claim's octets are not synced before it has a name.
    ClaimIsNotSynced,
    /// Nobody looks at locks.
    NoLocks,
    /// Buckets are removed and the low-water mark is not raised.
    NoLowWater,
    /// The low-water mark is raised and not synced before the first file goes.
    LowWaterIsNotSynced,
    /// A process that finds a name taken trusts it without syncing it.
    ReplayIsNotSynced,
    /// Whether a bucket owes an answer is checked before the low-water mark is raised, not after.
    OwingIsLookedAtFirst,
}

/// How much may happen.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Budget {
    deliveries: u8,
    resumes: u8,
    prunes: u8,
    kills: u8,
    cuts: u8,
    reboots: u8,
    refusals: u8,
    ticks: u8,
    steps_back: u8,
}

#[derive(Clone, Copy, Debug)]
struct Machine {
    kind: Kind,
    flaw: Flaw,
    budget: Budget,
}

/// A [`Record`] that can be hashed.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Claimed { at: usize, boot: u8, expired: bool },
    Notice,
    Noticed,
    Running { at: usize, boot: u8 },
    Finished { at: usize, told: Told },
    Tried { at: usize },
    Answered,
    GivenUp,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Back,
    NotStarted,
    Outcome,
    /// Nothing, to nobody: its hour has been forgotten.
    TooLate,
    Unknown,
    Verdict,
}

/// Where a process is: the call that it makes next.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Ended,
    // a delivery: FileSpool::spend
    Create { expired: bool, second: bool },
    Mkdir { second: bool },
    Name { second: bool },
    SyncBucket,
    SyncSpool,
    LowWater,
    SyncTaken,
    // resume, or a delivery that takes up an abandoned job: FileSpool::take
    Open,
    Lock,
    Take,
    // the runner: pipeline::conclude
    Write(Step),
    Sync(Step),
    HandOverNotice,
    Perform,
    HandOver,
}

/// A process, and the file that it has open.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Process {
    at: At,
    file: Option<usize>,
}

/// Where the process that prunes is.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Prune {
    Ended,
    Raise,
    Sync,
    Look,
    Unlink,
    Rmdir,
    SyncSpool,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Inode {
    steps: Vec<Step>,
    durable: usize,
    lock: Option<usize>,
}

/// What is in the page cache, and what on the disk.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Cached<T> {
    now: T,
    durable: T,
}

impl<T: Copy + PartialEq> Cached<T> {
    fn sync(&mut self) {
        self.durable = self.now;
    }

    /// What a power cut may leave.
    fn left(self) -> Vec<T> {
        if self.now == self.durable { vec![self.now] } else { vec![self.now, self.durable] }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct World {
    clock: usize,
    seen: usize,
    boot: u8,
    forgotten: Cached<bool>,
    bucket: Cached<bool>,
    name: Cached<Option<usize>>,
    inodes: [Option<Inode>; INODES],
    processes: [Process; 3],
    prune: Prune,
    left: Budget,
    past: Past,
}

/// What has happened, known to no process in the model.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
struct Past {
    runs: u8,
    ran_unwritten: bool,
    damaged: bool,
    accepted: bool,
    found_spent: bool,
    found_busy: bool,
    answered: Option<Told>,
    given_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Deliver(usize),
    Resume,
    Prune,
    Go(usize),
    GoOnPruning,
    /// The mail system does not take the answer.
    Refuse(usize),
    Kill(usize),
    KillPruner,
    Reboot,
    PowerCut {
        forgotten: bool,
        bucket: bool,
        name: Option<usize>,
        steps: usize,
        seen: usize,
    },
    Tick,
    StepBack,
    /// A claim of another nonce lets the spool see the time.
    Seen,
}

impl Step {
    fn record(self, kind: Kind) -> Record {
        let at = |n: usize| Time::from_unix(TIMES[n]);
        let nowhen = at(0);
        let verdict = match (kind, self) {
            (_, Self::Claimed { expired: true, .. }) => Ruling::Expired,
            (Kind::Denied, _) => Ruling::Denied,
            _ => Ruling::Run,
        };
        match self {
            Self::Claimed { at: n, boot, .. } => Record::Claimed {
                at: at(n),
                boot: boot.to_string(),
                verdict,
                why: String::new(),
                silent: false,
                message_id: None,
                cose: Vec::new(),
            },
            Self::Notice => Record::Notice { at: nowhen, mail: Vec::new() },
            Self::Noticed => Record::Noticed { at: nowhen },
            Self::Running { at: n, boot } => Record::Running { at: at(n), boot: boot.to_string() },
            Self::Finished { at: n, told } => Record::Finished {
                at: at(n),
                end: End::Done,
                duration: None,
                mail: (told != Told::TooLate).then(Vec::new),
            },
            Self::Tried { at: n } => Record::Tried { at: at(n) },
            Self::Answered => Record::Answered { at: nowhen },
            Self::GivenUp => Record::GivenUp { at: nowhen },
        }
    }
}

impl Machine {
    /// What a journal says: by the program's own transitions.
    fn state(&self, steps: &[Step]) -> Result<State, Damaged> {
        // one refusal counts for as many as it takes before an answer may be given up
        let times = |step: &Step| if matches!(step, Step::Tried { .. }) { GIVE_UP.1 } else { 1 };
        let mut records =
            steps.iter().flat_map(|step| (0..times(step)).map(|_| step.record(self.kind)));
        let first = State::new(records.next().ok_or(Damaged)?)?;
        records.try_fold(first, State::after)
    }

    fn is_over(&self, inode: &Inode) -> Result<bool, Damaged> {
        self.state(&inode.steps).map(|state| state.is_over())
    }

    /// Whether the bucket owes nobody an answer.
    fn owes_nothing(&self, world: &World) -> bool {
        world.job().is_none_or(|job| self.is_over(job) != Ok(false))
    }

    /// One step of process `n`.
    fn go(&self, world: &mut World, n: usize, taken: bool) {
        let Process { at, file } = world.processes[n];
        let next = match at {
            At::Ended => At::Ended,
            At::Create { expired, second } => {
                let steps = vec![Step::Claimed { at: world.now(), boot: world.boot, expired }];
                // nobody else can know the file: written and synced in one step
                let durable = usize::from(self.flaw != Flaw::ClaimIsNotSynced);
                let free = world.inodes.iter().position(Option::is_none).unwrap();
                world.inodes[free] = Some(Inode { steps, durable, lock: Some(n) });
                world.processes[n].file = Some(free);
                At::Mkdir { second }
            }
            At::Mkdir { second } => {
                world.bucket.now = true;
                At::Name { second }
            }
            At::Name { second } => self.name(world, n, second),
            At::SyncBucket | At::SyncSpool if !world.bucket.now => At::Ended,
            At::SyncBucket => {
                world.name.sync();
                At::SyncSpool
            }
            At::SyncSpool => {
                world.bucket.sync();
                At::LowWater
            }
            At::LowWater if world.forgotten.now => {
                At::Write(Step::Finished { at: world.now(), told: Told::TooLate })
            }
            At::LowWater => {
                (world.past.accepted, world.past.found_spent) = (true, true);
                At::Take
            }
            At::SyncTaken => match world.name.now {
                None => At::Ended,
                Some(job) => {
                    if self.flaw != Flaw::ReplayIsNotSynced {
                        world.sync_all(job);
                    }
                    world.past.found_spent = true;
                    At::Open
                }
            },
            At::Open => match world.job().map(|job| self.is_over(job)) {
                Some(Ok(false)) => {
                    world.processes[n].file = world.name.now;
                    At::Lock
                }
                Some(Ok(true) | Err(Damaged)) | None => At::Ended,
            },
            At::Lock if world.name.now != file => At::Ended,
            At::Lock => self.lock(world, n),
            // the runner checks again that what it inherited is the job
            At::Take if world.name.now != file => At::Ended,
            At::Take => {
                if self.flaw != Flaw::NameIsNotSynced {
                    world.sync_all(file.unwrap());
                }
                self.decide(world, n)
            }
            At::Write(step) => {
                world.file(n).steps.push(step);
                world.past.damaged |= self.state(&world.file(n).steps).is_err();
                world.past.given_up |= step == Step::GivenUp;
                let early = self.flaw == Flaw::ActsBeforeItIsWritten;
                let acts = early && matches!(step, Step::Running { .. });
                if acts { At::Perform } else { At::Sync(step) }
            }
            At::Sync(step) => {
                world.file(n).sync();
                self.after(world, step)
            }
            At::HandOverNotice => At::Write(Step::Noticed),
            At::Perform => {
                world.past.runs += 1;
                world.past.ran_unwritten |= !self.is_written_as_started(world, file.unwrap());
                At::Write(Step::Finished { at: world.now(), told: Told::Outcome })
            }
            At::HandOver if taken => {
                let told = |step: &Step| {
                    if let Step::Finished { told, .. } = step { Some(*told) } else { None }
                };
                world.past.answered = world.file(n).steps.iter().find_map(told);
                At::Write(Step::Answered)
            }
            At::HandOver => At::Write(Step::Tried { at: world.now() }),
        };
        world.processes[n].at = next;
        if next == At::Ended {
            world.end(n);
        }
        world.collect();
    }

    /// `persist_noclobber`: the moment in which a nonce is spent.
    fn name(&self, world: &mut World, n: usize, second: bool) -> At {
        let expired = matches!(world.file(n).steps[0], Step::Claimed { expired: true, .. });
        match (world.bucket.now, world.name.now) {
            // pruned between mkdir and the name
            (false, _) if second => At::Ended,
            (false, _) => {
                world.close(n);
                At::Create { expired, second: true }
            }
            (true, Some(_)) => {
                world.close(n);
                At::SyncTaken
            }
            (true, None) => {
                world.name.now = world.processes[n].file;
                let unsynced = self.flaw == Flaw::NameIsNotSynced;
                if unsynced { At::LowWater } else { At::SyncBucket }
            }
        }
    }

    fn lock(&self, world: &mut World, n: usize) -> At {
        let locked = world.file(n).lock.is_some();
        world.past.found_busy |= locked;
        if locked && self.flaw != Flaw::NoLocks {
            return At::Ended;
        }
        world.file(n).lock = Some(n);
        At::Take
    }

    /// `Job::take`: what is next is the program's own decision.
    fn decide(&self, world: &mut World, n: usize) -> At {
        let now = world.now();
        let Ok(state) = self.state(&world.file(n).steps) else { return At::Ended };
        let finished = |told| At::Write(Step::Finished { at: now, told });
        let running = At::Write(Step::Running { at: now, boot: world.boot });
        // judged again by the time now, and not before it was received
        let today = Time::from_unix(TIMES[now]).max(state.received);
        let expired = today > Time::from_unix(TIMES[0]);
        match state.next(Time::from_unix(TIMES[now]), &world.boot.to_string()) {
            Next::Nothing => At::Ended,
            Next::GiveUp => At::Write(Step::GivenUp),
            Next::Owed(Owed::Send) => At::HandOver,
            Next::Owed(Owed::Back) => finished(Told::Back),
            Next::Owed(Owed::NotStarted) => finished(Told::NotStarted),
            Next::Owed(Owed::Unknown) => finished(Told::Unknown),
            Next::Owed(Owed::Say) => finished(Told::Verdict),
            Next::Owed(Owed::Start) if expired => finished(Told::Verdict),
            Next::Owed(Owed::Start) if self.kind == Kind::Announced => match state.notice {
                Notice::None => At::Write(Step::Notice),
                Notice::Written(_) => At::HandOverNotice,
                Notice::Over => running,
            },
            Next::Owed(Owed::Start) => running,
        }
    }

    /// What a runner does once it has written a record.
    fn after(&self, world: &mut World, step: Step) -> At {
        match step {
            Step::Notice => At::HandOverNotice,
            Step::Noticed => At::Write(Step::Running { at: world.now(), boot: world.boot }),
            Step::Running { .. } => At::Perform,
            Step::Finished { told: Told::TooLate, .. } => At::Ended,
            Step::Finished { .. } => At::HandOver,
            Step::Answered | Step::Claimed { .. } | Step::GivenUp | Step::Tried { .. } => At::Ended,
        }
    }

    fn is_written_as_started(&self, world: &World, file: usize) -> bool {
        let inode = world.inodes[file].as_ref().unwrap();
        world.bucket.durable
            && world.name.durable == Some(file)
            && self.state(&inode.steps[..inode.durable]).is_ok_and(|state| state.started.is_some())
    }

    fn go_on_pruning(&self, world: &mut World) {
        world.prune = match world.prune {
            Prune::Ended => Prune::Ended,
            Prune::Raise => {
                world.forgotten.now |= self.flaw != Flaw::NoLowWater;
                Prune::Sync
            }
            Prune::Sync => {
                if self.flaw != Flaw::LowWaterIsNotSynced {
                    world.forgotten.sync();
                }
                Prune::Look
            }
            Prune::Look if self.flaw == Flaw::OwingIsLookedAtFirst || self.owes_nothing(world) => {
                Prune::Unlink
            }
            Prune::Look => Prune::Ended,
            Prune::Unlink => {
                world.name.now = None;
                Prune::Rmdir
            }
            // a claim was given its name in the meantime
            Prune::Rmdir if world.name.now.is_some() => Prune::Ended,
            Prune::Rmdir => {
                world.bucket.now = false;
                Prune::SyncSpool
            }
            Prune::SyncSpool => {
                world.bucket.sync();
                if !world.bucket.now {
                    world.name.sync();
                }
                Prune::Ended
            }
        };
        world.collect();
    }

    /// Ends every process, and boots again.
    fn boot(world: &mut World) {
        for n in 0..world.processes.len() {
            world.end(n);
        }
        world.prune = Prune::Ended;
        world.boot += 1;
        world.collect();
    }

    /// What one resume that nothing disturbs makes of it.
    fn settle(&self, world: &World) -> World {
        let mut world = world.clone();
        world.processes[RESUME].at = At::Open;
        while world.processes[RESUME].at != At::Ended {
            self.go(&mut world, RESUME, true);
        }
        world
    }

    /// Promise 3: once no process is at work, one resume is enough for everything that was accepted or run.
    fn is_answered_in_the_end(&self, world: &World) -> bool {
        if !world.is_quiet() {
            return true;
        }
        let settled = self.settle(world);
        let over = settled.job().is_none_or(|job| self.is_over(job) == Ok(true));
        let (answered, given_up) = (settled.past.answered.is_some(), settled.past.given_up);
        let owed = world.past.accepted || world.past.runs > 0;
        over && (!owed || answered || given_up)
    }
}

impl Inode {
    fn sync(&mut self) {
        self.durable = self.steps.len();
    }
}

impl World {
    /// What the program takes for now.
    fn now(&self) -> usize {
        self.clock.max(self.seen)
    }

    fn job(&self) -> Option<&Inode> {
        self.name.now.and_then(|file| self.inodes[file].as_ref())
    }

    fn file(&mut self, n: usize) -> &mut Inode {
        let file = self.processes[n].file.unwrap();
        self.inodes[file].as_mut().unwrap()
    }

    fn sync_all(&mut self, file: usize) {
        self.inodes[file].as_mut().unwrap().sync();
        self.name.sync();
        self.bucket.sync();
    }

    /// The lock goes with the file.
    fn close(&mut self, n: usize) {
        for inode in self.inodes.iter_mut().flatten() {
            inode.lock = inode.lock.filter(|holder| *holder != n);
        }
        self.processes[n].file = None;
    }

    fn end(&mut self, n: usize) {
        self.close(n);
        self.processes[n].at = At::Ended;
    }

    fn is_idle(&self, n: usize) -> bool {
        self.processes[n].at == At::Ended
    }

    fn is_quiet(&self) -> bool {
        (0..self.processes.len()).all(|n| self.is_idle(n)) && self.prune == Prune::Ended
    }

    /// Removes files that no process has open and that have no name.
    fn collect(&mut self) {
        for file in 0..INODES {
            let open = self.processes.iter().any(|process| process.file == Some(file));
            if !open && self.name.now != Some(file) && self.name.durable != Some(file) {
                self.inodes[file] = None;
            }
        }
    }

    /// The same world in one canonical form: the deliveries in order, the files in the order of what refers to them.
    fn tidy(&mut self) {
        self.collect();
        let [first, second] = DELIVERIES.map(|n| (self.processes[n].at, self.processes[n].file));
        if first > second {
            self.processes.swap(0, 1);
            for inode in self.inodes.iter_mut().flatten() {
                inode.lock = inode.lock.map(|n| if n == RESUME { n } else { 1 - n });
            }
        }
        let mut order: Vec<usize> = Vec::new();
        let opened = self.processes.iter().map(|process| process.file);
        for file in [self.name.now, self.name.durable].into_iter().chain(opened).flatten() {
            if !order.contains(&file) {
                order.push(file);
            }
        }
        let mut inodes = [const { None }; INODES];
        for (to, from) in order.iter().enumerate() {
            inodes[to] = self.inodes[*from].take();
        }
        self.inodes = inodes;
        let renumber = |file: &mut Option<usize>| {
            *file = file.and_then(|file| order.iter().position(|from| *from == file));
        };
        renumber(&mut self.name.now);
        renumber(&mut self.name.durable);
        self.processes.iter_mut().for_each(|process| renumber(&mut process.file));
    }

    fn power_cuts(&self, actions: &mut Vec<Action>) {
        for forgotten in self.forgotten.left() {
            for bucket in self.bucket.left() {
                for name in self.name.left() {
                    let inode = name.and_then(|file| self.inodes[file].as_ref());
                    let kept = inode.map_or(0..=0, |inode| inode.durable..=inode.steps.len());
                    for steps in kept {
                        let mut seens = vec![self.seen, 0];
                        seens.dedup();
                        let name = name.filter(|_| bucket);
                        actions.extend(seens.into_iter().map(|seen| Action::PowerCut {
                            forgotten,
                            bucket,
                            name,
                            steps,
                            seen,
                        }));
                    }
                }
            }
        }
    }
}

impl Model for Machine {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let nobody = Process { at: At::Ended, file: None };
        vec![World {
            clock: 0,
            seen: 0,
            boot: 1,
            forgotten: Cached { now: false, durable: false },
            bucket: Cached { now: false, durable: false },
            name: Cached { now: None, durable: None },
            inodes: [const { None }; INODES],
            processes: [nobody; 3],
            prune: Prune::Ended,
            left: self.budget,
            past: Past::default(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let mut when = |holds: bool, action| actions.extend(holds.then_some(action));
        let left = world.left;
        for n in 0..world.processes.len() {
            let busy = !world.is_idle(n);
            when(busy, Action::Go(n));
            when(busy && left.kills > 0, Action::Kill(n));
            let refusable = world.processes[n].at == At::HandOver && left.refusals > 0;
            when(refusable, Action::Refuse(n));
        }
        // the deliveries are alike: the second starts after the first
        let idle = DELIVERIES.into_iter().find(|n| world.is_idle(*n));
        if let Some(n) = idle {
            when(left.deliveries > 0, Action::Deliver(n));
        }
        when(left.resumes > 0 && world.is_idle(RESUME), Action::Resume);
        let past = world.seen == FORGETTABLE && world.bucket.now && left.prunes > 0;
        let looked = self.flaw != Flaw::OwingIsLookedAtFirst || self.owes_nothing(world);
        when(past && looked && world.prune == Prune::Ended, Action::Prune);
        when(world.prune != Prune::Ended, Action::GoOnPruning);
        when(world.prune != Prune::Ended && left.kills > 0, Action::KillPruner);
        when(left.reboots > 0, Action::Reboot);
        when(world.clock < FORGETTABLE && left.ticks > 0, Action::Tick);
        when(world.clock > 0 && left.steps_back > 0, Action::StepBack);
        when(world.clock > world.seen && self.budget.prunes > 0, Action::Seen);
        if left.cuts > 0 {
            world.power_cuts(actions);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Deliver(n) => {
                world.left.deliveries -= 1;
                if !world.forgotten.now {
                    let expired = world.now() > 0;
                    world.processes[n].at = At::Create { expired, second: false };
                }
            }
            Action::Resume => {
                world.left.resumes -= 1;
                world.processes[RESUME].at = At::Open;
            }
            Action::Prune => {
                world.left.prunes -= 1;
                world.prune = Prune::Raise;
            }
            Action::Go(n) => self.go(&mut world, n, true),
            Action::GoOnPruning => self.go_on_pruning(&mut world),
            Action::Refuse(n) => {
                world.left.refusals -= 1;
                self.go(&mut world, n, false);
            }
            Action::Kill(n) => {
                world.left.kills -= 1;
                world.end(n);
                world.collect();
            }
            Action::KillPruner => {
                world.left.kills -= 1;
                world.prune = Prune::Ended;
            }
            Action::Reboot => {
                world.left.reboots -= 1;
                world.forgotten.sync();
                world.bucket.sync();
                world.name.sync();
                world.inodes.iter_mut().flatten().for_each(Inode::sync);
                Self::boot(&mut world);
            }
            Action::PowerCut { forgotten, bucket, name, steps, seen } => {
                world.left.cuts -= 1;
                world.forgotten = Cached { now: forgotten, durable: forgotten };
                world.bucket = Cached { now: bucket, durable: bucket };
                world.name = Cached { now: name, durable: name };
                world.seen = seen;
                if let Some(inode) = name.and_then(|file| world.inodes[file].as_mut()) {
                    inode.steps.truncate(steps);
                    inode.sync();
                }
                Self::boot(&mut world);
            }
            Action::Tick => {
                world.left.ticks -= 1;
                world.clock += 1;
            }
            Action::StepBack => {
                world.left.steps_back -= 1;
                world.clock = 0;
            }
            Action::Seen => world.seen = world.clock,
        }
        world.tidy();
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("at most one run", |_, world: &World| world.past.runs <= 1),
            Property::always("no run without a durable claim and start", |_, world: &World| {
                !world.past.ran_unwritten
            }),
            Property::always("what was called spent stays spent", |_, world: &World| {
                let standing = world.bucket.durable && world.name.durable.is_some();
                !world.past.found_spent || standing || world.forgotten.durable
            }),
            Property::always(
                "what is accepted is answered or given up",
                Self::is_answered_in_the_end,
            ),
            Property::always("no record follows where it may not", |_, world: &World| {
                !world.past.damaged
            }),
        ];
        if self.flaw == Flaw::None {
            properties.extend(self.sights());
        }
        properties
    }
}

impl Machine {
    /// What must happen somewhere, or the model shows nothing.
    fn sights(&self) -> Vec<Property<Self>> {
        let Budget { kills, cuts, prunes, ticks, refusals, .. } = self.budget;
        let mut sights = vec![Property::sometimes(
            "a runner that is alive is left alone",
            |_, world: &World| world.past.found_busy,
        )];
        if self.kind != Kind::Denied {
            sights.push(Property::sometimes("it runs and says how it went", |_, world: &World| {
                world.past.runs == 1 && world.past.answered == Some(Told::Outcome)
            }));
        }
        if self.kind == Kind::Command && cuts > 0 {
            sights.push(Property::sometimes(
                "it is not started in another boot",
                |_, world: &World| world.past.answered == Some(Told::NotStarted),
            ));
        }
        if kills > 0 {
            sights.push(match self.kind {
                Kind::Announced => Property::sometimes("it is back", |_, world: &World| {
                    world.past.answered == Some(Told::Back)
                }),
                Kind::Command => Property::sometimes("its end is not known", |_, world: &World| {
                    world.past.answered == Some(Told::Unknown)
                }),
                Kind::Denied => Property::sometimes("its verdict is told", |_, world: &World| {
                    world.past.answered == Some(Told::Verdict)
                }),
            });
        }
        if ticks == 2 && refusals > 0 {
            sights.push(Property::sometimes("an answer is given up", |_, world: &World| {
                world.past.given_up
            }));
        }
        if prunes > 0 {
            sights.push(Property::sometimes("a bucket is removed", |_, world: &World| {
                world.past.answered.is_some() && world.forgotten.durable && !world.bucket.durable
            }));
            sights.push(Property::sometimes(
                "a claim comes too late for its hour",
                |_, world: &World| {
                    world.processes.iter().any(|process| {
                        matches!(process.at, At::Sync(Step::Finished { told: Told::TooLate, .. }))
                    })
                },
            ));
        }
        sights
    }
}

const NOTHING: Budget = Budget {
    deliveries: 0,
    resumes: 0,
    prunes: 0,
    kills: 0,
    cuts: 0,
    reboots: 0,
    refusals: 0,
    ticks: 0,
    steps_back: 0,
};
/// Many things at once, within the window.
const CRASHES: Budget =
    Budget { deliveries: 3, resumes: 1, kills: 1, cuts: 1, reboots: 1, refusals: 1, ..NOTHING };
/// Requests and answers that get old.
const LATE: Budget =
    Budget { deliveries: 2, resumes: 1, cuts: 1, refusals: 1, ticks: 2, ..NOTHING };
/// The history forgotten, under a clock that steps back.
const FORGETFUL: Budget =
    Budget { deliveries: 2, prunes: 1, cuts: 1, ticks: 2, steps_back: 1, ..NOTHING };
/// All of it: minutes.
const EVERYTHING: Budget = Budget { resumes: 1, kills: 1, ..FORGETFUL };

/// Explores everything, and says how much that was.
fn explore(name: &str, kind: Kind, budget: Budget) {
    let begun = Instant::now();
    let machine = Machine { kind, flaw: Flaw::None, budget };
    let checker = machine.checker().threads(2).spawn_bfs().join();
    eprintln!(
        "model: {name}, {kind:?}: {} states, {} transitions, {} steps deep, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f32(),
    );
    checker.assert_properties();
}

/// Breaks the model, and demands that `promise` is found broken.
fn find_out(flaw: Flaw, budget: Budget, promise: &'static str) {
    let begun = Instant::now();
    let machine = Machine { kind: Kind::Command, flaw, budget };
    let checker = machine.checker().threads(2);
    let checker = checker.finish_when(HasDiscoveries::AllOf([promise].into()));
    let checker = checker.spawn_bfs().join();
    let path = checker.discovery(promise).map(|path| path.into_actions());
    let seconds = begun.elapsed().as_secs_f32();
    eprintln!("model: {flaw:?}: {} states, {seconds:.1} s: {path:?}", checker.unique_state_count());
    assert!(path.is_some(), "{flaw:?} breaks this, and the checker does not see it: {promise}");
}

const KINDS: [Kind; 3] = [Kind::Command, Kind::Announced, Kind::Denied];

/// A request is forgotten if it is claimed and never answered.
#[test]
fn no_order_of_crashes_repeats_or_forgets_a_request() {
    KINDS.into_iter().for_each(|kind| explore("crashes", kind, CRASHES));
}

#[test]
fn no_request_or_answer_is_ever_too_old_to_tell() {
    KINDS.into_iter().for_each(|kind| explore("late", kind, LATE));
}

#[test]
fn a_nonce_that_is_forgotten_is_not_accepted_again() {
    explore("forgetful", Kind::Command, FORGETFUL);
    if std::env::var_os("NETSYSRQ_TEST_LONG").is_some() {
        KINDS.into_iter().for_each(|kind| explore("everything", kind, EVERYTHING));
    }
}

#[test]
fn every_way_to_break_the_model_is_found_out() {
    let written = "no run without a durable claim and start";
    find_out(Flaw::ActsBeforeItIsWritten, CRASHES, written);
    for (flaw, budget) in [
        (Flaw::NameIsNotSynced, CRASHES),
        (Flaw::NoLocks, CRASHES),
        (Flaw::NoLowWater, FORGETFUL),
        (Flaw::LowWaterIsNotSynced, FORGETFUL),
    ] {
        find_out(flaw, budget, "at most one run");
    }
    find_out(Flaw::ReplayIsNotSynced, CRASHES, "what was called spent stays spent");
    let answered = "what is accepted is answered or given up";
    find_out(Flaw::ClaimIsNotSynced, CRASHES, answered);
    find_out(Flaw::OwingIsLookedAtFirst, Budget { cuts: 0, steps_back: 0, ..FORGETFUL }, answered);
}
