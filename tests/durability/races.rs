//! Many at once: deliveries of the same requests, runners, and resumes among them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use netsysrq_mail::protocol::job::state::Answer;

use crate::ground::{Asked, message_ids, now, site, with_sendmail};
use crate::strace::{strace, traced};
use crate::support::{Site, eventually, run};

/// A delivery that does not wait for its command.
fn deliver_detached(site: &Site, asked: &Asked) -> i32 {
    let arguments = ["deliver", "--profile", "mailbox"];
    run(site.program().args(arguments), asked.mail.as_bytes()).status
}

fn is_answered(site: &Site, asked: &Asked) -> bool {
    asked.state(site).is_some_and(|state| state.answer == Answer::HandedOver)
}

/// With `resume` beside them all the time.
#[test]
fn a_thousand_deliveries_of_a_hundred_requests_run_each_once() {
    let site = site();
    let asked: Vec<Asked> = (0..100).map(|_| Asked::new(&site, &["count"])).collect();
    let (next, over, claims) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));
    let resumes = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let resume = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let resumed = site.tool(&["resume"]);
                assert!(matches!(resumed.status, 0 | 1), "{resumed:?}");
                resumes.fetch_add(1, Ordering::Relaxed);
            }
        });
        let workers: Vec<_> = (0..50)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= 1000 {
                            return;
                        }
                        // ten in a row are one request, so that they meet; half of them wait
                        let asked = &asked[n / 10];
                        let status = match n % 2 {
                            0 => deliver_detached(&site, asked),
                            _ => site.deliver(&asked.mail).status,
                        };
                        assert!(matches!(status, 0 | 1), "delivery {n}: status {status}");
                        claims.fetch_add(usize::from(status == 0), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let died = workers.into_iter().map(|worker| worker.join().is_err()).filter(|d| *d).count();
        over.store(true, Ordering::Relaxed);
        assert!(resume.join().is_ok() && died == 0, "{died} workers met a wrong status");
    });
    eventually("all are answered", || asked.iter().all(|asked| is_answered(&site, asked)));
    assert_eq!(site.tool(&["resume", "--wait"]).status, 0);
    assert_eq!(claims.load(Ordering::Relaxed), 100, "claims");
    let runs: Vec<usize> = asked.iter().map(|asked| asked.runs(&site)).collect();
    assert_eq!(runs, [1; 100], "runs of each request");
    let answers = site.answers();
    let ids = message_ids(&answers).len();
    eprintln!(
        "races: 1000 deliveries of 100 requests, {} resumes among them: {} runs, {} answers ({ids} different)",
        resumes.load(Ordering::Relaxed),
        runs.iter().sum::<usize>(),
        answers.len(),
    );
    assert_eq!((answers.len(), ids), (100, 100));
}

#[test]
fn a_second_delivery_while_the_runner_is_alive_changes_nothing() {
    let site = site();
    let asked = Asked::new(&site, &["slow"]);
    assert_eq!(deliver_detached(&site, &asked), 0);
    eventually("it is begun", || asked.runs(&site) == 1);
    let journal = fs::read(asked.job(&site)).unwrap();
    let again = site.deliver(&asked.mail);
    assert_eq!(again.status, 1, "{again:?}");
    assert_eq!(site.tool(&["resume", "--wait"]).status, 0);
    assert_eq!(site.tool(&["resume", "--only", &asked.name.to_string()]).status, 1, "busy");
    assert_eq!(fs::read(asked.job(&site)).unwrap(), journal, "its runner is alive");
    site.write("go", "");
    eventually("it is answered", || is_answered(&site, &asked));
    assert_eq!((asked.runs(&site), asked.answers(&site).len()), (1, 1));
}

#[test]
fn the_next_delivery_resumes_a_killed_runner_and_repeats_nothing() {
    let site = site();
    let asked = Asked::new(&site, &["slow"]);
    let mut program = site.program();
    program.args(["deliver", "--wait", "--profile", "mailbox"]).stdin(Stdio::piped());
    let mut child = program.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), asked.mail.as_bytes()).unwrap();
    eventually("it is begun", || asked.runs(&site) == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    site.write("go", "");
    let again = site.deliver(&asked.mail);
    assert_eq!(again.status, 1, "{again:?}");
    assert!(again.stderr.contains("end=unknown"), "{again:?}");
    assert_eq!((asked.runs(&site), asked.answers(&site).len()), (1, 1));
}

/// The calls at which a program that meets another's job may be held up: from its first call about that job on.
fn meeting(site: &Site, strace: &PathBuf, words: &[&str], asked: &Asked) -> Vec<(String, usize)> {
    let options = ["-etrace=file,desc".to_owned()];
    let calls = traced(site, strace, &options, words, &asked.mail).calls;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for line in &calls {
        let Some((call, _)) = line.split_once('(') else { continue };
        let nth = counts.entry(call).or_default();
        *nth += 1;
        if !points.is_empty() || line.contains(&asked.cti()) {
            points.push((call.to_owned(), *nth));
        }
    }
    points
}

/// A site whose mail system takes its time, and a request whose runner has just begun there.
fn begun() -> (Site, Asked) {
    let site = with_sendmail();
    site.write("mode", "slow");
    let asked = Asked::new(&site, &["count"]);
    assert_eq!(deliver_detached(&site, &asked), 0);
    eventually("it is begun", || asked.runs(&site) == 1);
    (site, asked)
}

/// It is held up at each of its calls about a job, while that job's runner ends.
#[test]
fn a_program_held_up_anywhere_takes_nothing_from_the_journal() {
    let Some(strace) = strace() else { return };
    for words in [&["resume", "--wait"][..], &["deliver", "--wait", "--profile", "mailbox"]] {
        let (site, asked) = begun();
        let points = meeting(&site, &strace, words, &asked);
        assert!(points.iter().any(|(call, _)| call == "flock"), "{words:?}: {points:?}");
        std::thread::scope(|scope| {
            for (call, nth) in &points {
                let strace = &strace;
                scope.spawn(move || {
                    let (site, asked) = begun();
                    let options = [format!("-einject={call}:delay_enter=4s:when={nth}")];
                    traced(&site, strace, &options, words, &asked.mail);
                    // on a slow machine the runner is still working
                    let what = format!("{words:?} at {call} {nth}: it is answered");
                    eventually(&what, || is_answered(&site, &asked));
                    assert_eq!(asked.runs(&site), 1, "{words:?} at {call} {nth}");
                });
            }
        });
        eprintln!("races: {words:?} held up at each of {} calls", points.len());
    }
}

/// A resume in the background.
fn resuming(site: &Site, arguments: &[&str]) -> Child {
    let mut program: Command = site.program();
    program.arg("resume").args(arguments).stdin(Stdio::null());
    program.spawn().unwrap()
}

#[test]
fn a_second_resume_says_so_and_touches_nothing() {
    let site = with_sendmail();
    site.write("mode", "75");
    let asked = Asked::new(&site, &["count"]);
    assert_eq!(site.deliver(&asked.mail).status, 0);
    asked.age_last_try(&site, Duration::from_secs(61));
    site.write("mode", "held");
    let mut first = resuming(&site, &["--wait"]);
    eventually("the first hands over", || site.read("calls").lines().count() == 2);
    if let Some(strace) = strace() {
        let options = ["-etrace=sendto".to_owned()];
        let second = traced(&site, &strace, &options, &["resume", "--wait"], "");
        assert_eq!((second.ran.status, second.log()), (0, vec!["resume-busy".to_owned()]));
    } else {
        assert_eq!(site.tool(&["resume", "--wait"]).status, 0);
    }
    assert!(first.try_wait().unwrap().is_none(), "it waited for the first");
    site.write("go", "");
    assert!(first.wait().unwrap().success());
    assert_eq!(site.read("calls").lines().count(), 2);
    assert_eq!((asked.runs(&site), site.answers().len()), (1, 1));
}

#[test]
fn no_more_commands_run_at_once_under_resume_than_jobs_says() {
    let site = site();
    site.configure("groups = [\"web\"]", "groups = [\"web\"]\njobs = 2");
    let asked: Vec<Asked> = (0..6).map(|_| Asked::new(&site, &["slow"])).collect();
    for asked in &asked {
        asked.forge(&site, &[asked.claimed(now())]);
    }
    assert_eq!(site.tool(&["resume"]).status, 0);
    eventually("two have begun", || site.read("turns").lines().count() == 2);
    // a second one finds runners alive
    assert_eq!(site.tool(&["resume"]).status, 0);
    site.write("go", "");
    eventually("all are answered", || asked.iter().all(|asked| is_answered(&site, asked)));
    let (mut running, mut most) = (0_usize, 0);
    for turn in site.read("turns").lines() {
        running = if turn == "begin" { running + 1 } else { running - 1 };
        most = most.max(running);
    }
    assert_eq!(most, 2, "{}", site.read("turns"));
    for asked in &asked {
        assert_eq!((asked.runs(&site), asked.answers(&site).len()), (1, 1));
    }
}

#[test]
fn resume_stops_at_max_and_says_that_jobs_are_left() {
    let site = site();
    let asked: Vec<Asked> = (0..3).map(|_| Asked::new(&site, &["count"])).collect();
    for asked in &asked {
        asked.forge(&site, &[asked.claimed(now())]);
    }
    for (expected, done) in [(1, 2), (0, 3)] {
        assert_eq!(site.tool(&["resume", "--wait", "--max", "2"]).status, expected);
        assert_eq!(asked.iter().filter(|asked| is_answered(&site, asked)).count(), done);
    }
    assert!(asked.iter().all(|asked| asked.runs(&site) == 1));
}
