//! Commands: what they are given, what they are kept from, how they are ended, and what is said of them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{PROGRAM, Ran, Site, eventually, is_root, message, run, waiting_for};

impl Site {
    /// Lets alice ask for `probe`, a command of these lines.
    fn probe(&self, stanza: &str) {
        let config = self.standard_config();
        let config = config.replacen("\"sleep\"]", "\"sleep\", \"probe\"]", 1);
        self.write("config.toml", &format!("{config}\n[command.probe]\n{stanza}\n"));
    }

    /// Delivers a request by alice and returns its only new answer.
    fn ask(&self, command: &[&str]) -> String {
        self.ask_with(&[], command).1
    }

    /// The same with options of `sign`; also says what the delivery did.
    fn ask_with(&self, options: &[&str], command: &[&str]) -> (Ran, String) {
        let before = self.answers();
        let delivered = self.deliver(&message(&self.sign(options, command)));
        assert_eq!((delivered.status, delivered.stdout.as_str()), (0, ""), "{delivered:?}");
        let new = self.answers().into_iter().filter(|answer| !before.contains(answer));
        let new: Vec<String> = new.collect();
        assert_eq!(new.len(), 1, "{delivered:?}");
        (delivered, new[0].clone())
    }

    /// What the host signed in an answer.
    fn verified(&self, answer: &str) -> Value {
        let host_key = self.path("host.pub");
        let arguments = ["verify", "--json", "--host-key", host_key.to_str().unwrap()];
        let verified = self.tool_on(&arguments, answer.as_bytes());
        assert_eq!(verified.status, 0, "{verified:?}: {answer}");
        serde_json::from_str(&verified.stdout).unwrap()
    }

    /// The output of `probe`, as in its answer and as signed by the host.
    fn output(&self, words: &[&str]) -> String {
        let answer = self.ask(&[&["probe"], words].concat());
        let verified = self.verified(&answer);
        assert_eq!(verified["verdict"], "run", "{answer}");
        verified["output"].as_str().unwrap_or_default().to_owned()
    }

    /// An answer to a request that was not run: the verdict, and its first line.
    fn denied(&self, words: &[&str]) -> (String, String) {
        let answer = self.ask(&[&["probe"], words].concat());
        let verdict = self.verified(&answer)["verdict"].as_str().unwrap().to_owned();
        (verdict, headline(&answer))
    }
}

/// The decoded text part of an answer, as a mail client shows it.
fn text_of(answer: &str) -> String {
    let parsed = mail_parser::MessageParser::default().parse(answer.as_bytes()).unwrap();
    let text = parsed.body_text(0).unwrap_or_else(|| panic!("no text: {answer}")).into_owned();
    assert!(text.contains("\nHost      web1\n"), "{text}");
    text
}

/// The words after `Answer` in the text of an answer.
fn headline(answer: &str) -> String {
    let text = text_of(answer);
    text.lines().next().unwrap_or_default().trim_start_matches("Answer").trim().to_owned()
}

fn site(stanza: &str) -> Site {
    let site = Site::new();
    site.probe(stanza);
    site
}

/// A number of seconds, almost an hour, that no other process sleeps.
fn unheard_of() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("3{:03}.{:07}", count, std::process::id())
}

/// Whether a process sleeps for this long.
fn sleeps(seconds: &str) -> bool {
    let argument = format!("sleep\0{seconds}\0");
    fs::read_dir("/proc").unwrap().any(|entry| {
        let path = entry.unwrap().path().join("cmdline");
        fs::read_to_string(path).is_ok_and(|line| line.ends_with(&argument))
    })
}

// --- how a command ends

#[test]
fn a_status_is_told_and_both_streams_are_in_the_output() {
    let site = Site::new();
    let answer = site.ask(&["fail"]);
    assert_eq!(headline(&answer), "exit status 3");
    let verified = site.verified(&answer);
    assert_eq!(verified["status"], 3);
    assert_eq!(verified["output"], "to stdout\nto stderr\n");
    assert!(verified["duration"].as_u64().is_some_and(|ms| ms < 60_000), "{verified}");
    assert!(answer.contains("\nSubject: web1 answers alice: exit status 3\n"), "{answer}");
}

#[test]
fn a_signal_that_ended_a_command_is_told() {
    for (name, number) in [("KILL", 9), ("SEGV", 11), ("PIPE", 13)] {
        let site = site(&format!("run = [\"/bin/sh\", \"-c\", \"echo before; kill -{name} $$\"]"));
        let answer = site.ask(&["probe"]);
        assert_eq!(headline(&answer), format!("ended by signal {number}"));
        let verified = site.verified(&answer);
        assert_eq!(
            (&verified["status"], &verified["output"]),
            (&(-number).into(), &"before\n".into())
        );
    }
}

#[test]
fn silence_is_told_as_silence() {
    let site = site("run = [\"/bin/true\"]");
    let answer = site.ask(&["probe"]);
    assert_eq!(headline(&answer), "exit status 0");
    assert!(answer.contains("\nNo output.\n"), "{answer}");
    assert_eq!(site.verified(&answer)["out"], Value::Null);
}

#[test]
fn a_command_past_its_time_is_stopped_with_all_its_children() {
    let seconds = unheard_of();
    let site = site(&format!(
        "timeout = \"3s\"\ngrace = \"60s\"\n\
         run = [\"/bin/sh\", \"-c\", \"echo begun; (sleep {seconds} & sleep {seconds}) & sleep {seconds}\"]"
    ));
    let begun = Instant::now();
    let answer = site.ask(&["probe"]);
    // SIGTERM is enough
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(headline(&answer), "stopped at its time limit");
    assert_eq!(site.verified(&answer)["output"], "begun\n");
    eventually("its children are gone", || !sleeps(&seconds));
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_after_its_grace() {
    let seconds = unheard_of();
    let site = site(&format!(
        "timeout = \"3s\"\ngrace = \"300ms\"\n\
         run = [\"/bin/sh\", \"-c\", \"trap '' TERM; echo begun; sleep {seconds} & sleep {seconds}; echo on\"]"
    ));
    let begun = Instant::now();
    let answer = site.ask(&["probe"]);
    let took = begun.elapsed();
    assert!((3300..60_000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(headline(&answer), "stopped at its time limit");
    assert_eq!(site.verified(&answer)["output"], "begun\n");
    eventually("its children are gone", || !sleeps(&seconds));
}

#[test]
fn a_command_may_clean_up_in_its_grace() {
    let seconds = unheard_of();
    let site = site(&format!(
        "timeout = \"3s\"\ngrace = \"60s\"\n\
         run = [\"/bin/sh\", \"-c\", \"trap 'echo cleaned; exit 0' TERM; sleep {seconds} & wait\"]"
    ));
    let begun = Instant::now();
    let answer = site.ask(&["probe"]);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(headline(&answer), "stopped at its time limit");
    assert_eq!(site.verified(&answer)["output"], "cleaned\n");
    eventually("its child is gone", || !sleeps(&seconds));
}

#[test]
fn a_background_child_neither_delays_the_answer_nor_stays() {
    let seconds = unheard_of();
    let site =
        site(&format!("run = [\"/bin/sh\", \"-c\", \"sleep {seconds} & echo started; exit 7\"]"));
    let begun = Instant::now();
    let answer = site.ask(&["probe"]);
    // and is not stopped at its time limit
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    assert_eq!(headline(&answer), "exit status 7");
    assert_eq!(site.verified(&answer)["output"], "started\n");
    eventually("its child is gone", || !sleeps(&seconds));
}

#[test]
fn a_child_in_its_own_session_delays_no_answer() {
    // it outlives the answer, and ends when it is let go, or with the site
    let site = Site::new();
    let (root, wait) = (site.root().display().to_string(), waiting_for(&site.path("go")));
    site.probe(&format!(
        "run = [\"/bin/sh\", \"-c\", \"setsid sh -c '{wait}; echo >{root}/gone' & echo started\"]"
    ));
    let begun = Instant::now();
    let answer = site.ask(&["probe"]);
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    assert_eq!(headline(&answer), "exit status 0");
    assert_eq!(site.verified(&answer)["output"], "started\n");
    site.write("go", "");
    eventually("it was there until now", || site.path("gone").exists());
}

#[test]
fn a_command_that_closes_its_output_is_still_stopped() {
    let seconds = unheard_of();
    let site = site(&format!(
        "timeout = \"3s\"\nrun = [\"/bin/sh\", \"-c\", \"echo last; exec >&- 2>&-; sleep {seconds}\"]"
    ));
    let answer = site.ask(&["probe"]);
    assert_eq!(headline(&answer), "stopped at its time limit");
    assert_eq!(site.verified(&answer)["output"], "last\n");
    eventually("it is gone", || !sleeps(&seconds));
}

// --- output

#[test]
fn output_over_its_cap_is_cut_and_the_rest_counted() {
    let site = Site::new();
    let answer = site.ask(&["flood"]);
    assert!(answer.contains("1024 octets, cut: 98976 more were dropped"), "{answer}");
    let verified = site.verified(&answer);
    assert_eq!(verified["output"], "x".repeat(1024));
    assert_eq!(verified["out"][0], 1024);
}

#[test]
fn endless_output_is_cut_and_stopped_at_the_time_limit() {
    let site = site("run = [\"/usr/bin/yes\"]\noutput_limit = 10\ntimeout = \"2s\"");
    let answer = site.ask(&["probe"]);
    assert_eq!(headline(&answer), "stopped at its time limit");
    assert_eq!(site.verified(&answer)["output"], "y\ny\ny\ny\ny\n");
    assert!(answer.contains("10 octets, cut: "), "{answer}");
}

#[test]
fn a_cap_of_nothing_leaves_nothing() {
    let site = site("run = [\"/bin/echo\", \"unsaid\"]\noutput_limit = 0");
    let answer = site.ask(&["probe"]);
    assert_eq!(headline(&answer), "exit status 0");
    assert!(!answer.contains("unsaid\n"), "{answer}");
}

#[test]
fn every_octet_of_the_output_is_attached_and_signed() {
    let site = Site::new();
    let file = site.path("octets");
    site.probe(&format!("run = [\"/bin/cat\", \"{}\"]\noutput_limit = \"1MiB\"", file.display()));
    let all: Vec<u8> = (0..=255).collect();
    let big: Vec<u8> = (0..300_000_u32).map(|n| u8::try_from(n / 7 % 251).unwrap()).collect();
    let cases: [(&str, Vec<u8>); 14] = [
        ("all octets", all.clone()),
        ("binary, and big", big),
        ("text, and big", "A line of text.\n".repeat(20_000).into_bytes()),
        ("no line end", b"word".to_vec()),
        ("line ends only", b"\n\n\n".to_vec()),
        ("line ends of DOS", b"a\r\nb\r\n".to_vec()),
        ("a bare CR", b"a\rb".to_vec()),
        ("a NUL", b"a\0b\n".to_vec()),
        ("a byte order mark", "\u{feff}word\n".as_bytes().to_vec()),
        ("Latin-1", b"gr\xfc\xdfe\n".to_vec()),
        ("UTF-8", "grüße 世界 \u{1f600}\n".as_bytes().to_vec()),
        ("UTF-8 cut short", "世".as_bytes()[..2].to_vec()),
        ("a line of 5000", [&b"y".repeat(5000)[..], b"\n"].concat()),
        ("what ends a mail", b"From nobody\n.\n--\n.\nQUIT\n".to_vec()),
    ];
    for (name, octets) in cases {
        fs::write(&file, &octets).unwrap();
        let answer = site.ask(&["probe"]);
        let digest: String = Sha256::digest(&octets).iter().map(|o| format!("{o:02x}")).collect();
        let signed = format!("\nOutput    {} octets, SHA-256 {digest}\n", octets.len());

        let mut verify = Command::new(PROGRAM);
        verify.args(["verify", "--host-key"]).arg(site.path("host.pub"));
        site.write("answer.eml", &answer);
        let input = fs::File::open(site.path("answer.eml")).unwrap();
        let shown = verify.stdin(input).output().unwrap();
        assert!(shown.status.success(), "{name}");
        assert!(shown.stdout.starts_with(b"genuine\n"), "{name}");
        let end = [signed.as_bytes(), b"\n", &octets].concat();
        assert!(shown.stdout.ends_with(&end), "{name}: not exact");
        assert!(answer.is_ascii(), "{name}: a mail of 8 bits");
        let longest = answer.lines().map(str::len).max();
        assert!(longest <= Some(998), "{name}: a line of {longest:?}");
    }
}

#[test]
fn controls_in_the_output_are_shown_and_not_sent() {
    let site = site(
        r#"run = ["/usr/bin/printf", "a\\033[31mb\\007\\rc\\tend\\n\\342\\200\\256desrever\\n\\302\\233c1\\n"]"#,
    );
    let answer = site.ask(&["probe"]);
    let text = text_of(&answer);
    let raw = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
    assert!(!text.contains(raw), "{text:?}");
    for shown in ["a\\u{1b}[31mb\\u{7}\\u{d}c\tend\n", "\\u{202e}desrever\n", "\\u{9b}c1\n"] {
        assert!(text.contains(shown), "{shown:?}: {text}");
    }
    // the attachment has them as they are
    let output = site.verified(&answer)["output"].as_str().unwrap().to_owned();
    assert!(output.starts_with("a\u{1b}[31mb\u{7}\rc\tend\n"), "{output:?}");
}

#[test]
fn large_and_binary_output_is_attached_and_not_shown() {
    let site = Site::new();
    let file = site.path("octets");
    site.probe(&format!("run = [\"/bin/cat\", \"{}\"]", file.display()));
    for octets in [&b"word ".repeat(4000)[..], b"\x7fELF\x02\xff\xfe"] {
        fs::write(&file, octets).unwrap();
        let text = text_of(&site.ask(&["probe"]));
        assert!(
            text.contains(&format!("\nOutput: {} octets, attached.\n", octets.len())),
            "{text}"
        );
        assert!(!text.contains("word word") && !text.contains("ELF"), "{text}");
    }
}

#[test]
fn output_that_imitates_the_ends_of_the_mails_parts_stays_output() {
    let site = site(
        r#"run = ["/bin/sh", "-c", "echo --=_$NETSYSRQ_CTI--; echo; echo --=_$NETSYSRQ_CTI; echo; echo after"]"#,
    );
    let answer = site.ask(&["probe"]);
    let verified = site.verified(&answer);
    let cti = verified["cti"].as_str().unwrap();
    assert_eq!(verified["output"], format!("--=_{cti}--\n\n--=_{cti}\n\nafter\n"), "{answer}");
    let text = text_of(&answer);
    assert!(text.contains("\nafter\n") && text.contains("netsysrq answer begin"), "{text}");
}

#[test]
fn an_older_answer_in_the_output_deceives_nobody() {
    let site = Site::new();
    let older = site.ask(&["mark"]);
    let frame = &older[older.find("netsysrq answer begin").unwrap()..];
    let frame = &frame[..frame.find("netsysrq answer end").unwrap() + 20];
    site.write("older", frame);
    site.probe(&format!("run = [\"/bin/cat\", \"{}\"]", site.path("older").display()));
    let request = site.sign(&[], &["probe"]);
    site.write("request", &request);
    assert_eq!(site.deliver(&message(&request)).status, 0);
    let answers = site.answers();
    let answer = answers.iter().find(|answer| **answer != older).unwrap();
    let (host_key, request) = (site.path("host.pub"), site.path("request"));
    let arguments = ["verify", "--host-key", host_key.to_str().unwrap(), "--request"];
    let arguments = [&arguments[..], &[request.to_str().unwrap()]].concat();
    let verified = site.tool_on(&arguments, answer.as_bytes());
    assert_eq!(verified.status, 0, "{verified:?}");
}

// --- what a command is given

#[test]
fn standard_input_is_empty_and_is_not_the_mail() {
    let site = site(r#"run = ["/bin/sh", "-c", "readlink /proc/self/fd/0; cat"]"#);
    assert_eq!(site.output(&[]), "/dev/null\n");
}

/// What `/etc/passwd` says of the user who runs this: name, home and shell.
fn own_account() -> (String, String, String) {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let entry = entry.into_iter().find(|entry| entry.get(2) == Some(&uid.as_str()));
    entry.map_or((uid, "/".to_owned(), "/bin/sh".to_owned()), |entry| {
        (entry[0].to_owned(), entry[5].to_owned(), entry[6].to_owned())
    })
}

#[test]
fn the_environment_is_built_from_nothing() {
    let site = site("run = [\"/usr/bin/env\"]\nenv = { GREETING = \"good day\", TERM = \"dumb\" }");
    let (user, home, shell) = own_account();
    for arguments in [&["--wait", "--profile", "mta"][..], &["--profile", "mta"]] {
        let before = site.answers();
        let mut command = site.program();
        command.arg("deliver").args(arguments);
        for (name, value) in [
            ("PATH", "/tmp/evil:/usr/bin:/bin"),
            ("HOME", "/tmp/evil"),
            ("SHELL", "/tmp/evil"),
            ("LANG", "tlh"),
            ("IFS", "/"),
            ("BASH_ENV", "/tmp/evil"),
            ("NETSYSRQ_KEY", "mallory"),
            ("SENDER", "mallory@example.com"),
        ] {
            command.env(name, value);
        }
        assert_eq!(run(&mut command, message(&site.sign(&[], &["probe"])).as_bytes()).status, 0);
        eventually("the answer", || site.answers().len() > before.len());
        let answers = site.answers();
        let answer = answers.iter().find(|answer| !before.contains(answer)).unwrap();
        let verified = site.verified(answer);
        let mut lines: Vec<&str> = verified["output"].as_str().unwrap().lines().collect();
        lines.sort_unstable();
        let cti = verified["cti"].as_str().unwrap();
        let mut expected = [
            "GREETING=good day".to_owned(),
            "LANG=C.UTF-8".to_owned(),
            "NETSYSRQ_KEY=alice".to_owned(),
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            "TERM=dumb".to_owned(),
            format!("HOME={home}"),
            format!("LOGNAME={user}"),
            format!("NETSYSRQ_CTI={cti}"),
            format!("SHELL={shell}"),
            format!("USER={user}"),
        ];
        expected.sort_unstable();
        assert_eq!(lines, expected, "{arguments:?}");
    }
}

#[test]
fn a_command_starts_in_the_root_directory_with_umask_077() {
    let site = site(r#"run = ["/bin/sh", "-c", "umask; pwd"]"#);
    assert_eq!(site.output(&[]), "0077\n/\n");
}

#[test]
fn a_command_starts_where_it_is_told_to() {
    let site = Site::new();
    let work = site.path("a b");
    fs::create_dir(&work).unwrap();
    site.probe(&format!("run = [\"/bin/pwd\"]\ncwd = \"{}\"", work.display()));
    assert_eq!(site.output(&[]), format!("{}\n", work.display()));
    fs::remove_dir(&work).unwrap();
    let answer = site.ask(&["probe"]);
    let expected = format!("not started: in {}: No such file or directory", work.display());
    assert!(headline(&answer).starts_with(&expected), "{answer}");
}

#[test]
fn no_descriptor_of_ours_is_left_open_in_a_command() {
    let site = site(r#"run = ["/bin/ls", "-l", "/proc/self/fd"]"#);
    let numbers = |text: &str| -> Vec<String> {
        let names = text.lines().filter_map(|line| line.split(" -> ").next());
        names
            .filter_map(|n| n.rsplit(' ').next())
            .filter(|n| n.parse::<u32>().is_ok())
            .map(Into::into)
            .collect()
    };
    let output = site.output(&[]);
    // "total 0", the three standard streams, and the directory that ls reads
    assert_eq!(numbers(&output), ["0", "0", "1", "2", "3"], "{output}");
    assert!(!output.contains("netsysrq-test"), "{output}");
    // detached: the runner has the job's journal, locked, as its standard input
    let before = site.answers();
    let mail = message(&site.sign(&[], &["probe"]));
    assert_eq!(site.tool_on(&["--profile", "mta"], mail.as_bytes()).status, 0);
    eventually("the answer", || site.answers().len() > before.len());
    let answers = site.answers();
    let answer = answers.iter().find(|answer| !before.contains(answer)).unwrap();
    let output = site.verified(answer)["output"].as_str().unwrap().to_owned();
    assert!(!output.contains("netsysrq-test"), "{output}");
}

#[test]
fn a_command_leads_a_session_of_its_own() {
    let site = site(
        r#"run = ["/bin/sh", "-c", "read pid comm state ppid pgrp session tty rest </proc/$$/stat; echo $((pid == pgrp)) $((pid == session)) $tty"]"#,
    );
    assert_eq!(site.output(&[]), "1 1 0\n");
}

#[test]
fn a_command_inherits_no_blocked_or_ignored_signal() {
    // Exim ignores HUP, INT, USR1 and TERM, Dovecot PIPE and XCPU, Postfix PIPE and XFSZ
    let signals = "=HUP,INT,QUIT,USR1,USR2,PIPE,ALRM,TERM,CHLD,XCPU,XFSZ";
    for wait in [&["--wait"][..], &[]] {
        let site = site(r#"run = ["/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]"#);
        let mail = message(&site.sign(&[], &["probe"]));
        let mut delivery = Command::new("/usr/bin/env");
        delivery
            .args(["--block-signal", "--ignore-signal"].map(|option| option.to_owned() + signals));
        delivery.arg(PROGRAM).arg("--config").arg(site.path("config.toml"));
        let delivered = run(delivery.args(["--profile", "mta"]).args(wait), mail.as_bytes());
        assert_eq!(delivered.status, 0, "{delivered:?}");
        eventually("the answer", || site.answers().len() == 1);
        let output = site.verified(&site.answers()[0])["output"].as_str().unwrap().to_owned();
        // the C library reserves two of the 64 signals, 32 and 33
        let sets =
            output.lines().map(|line| u64::from_str_radix(line.split('\t').nth(1)?, 16).ok());
        let sets: Vec<u64> = sets.map(|set| set.unwrap() & !(3 << 31)).collect();
        assert_eq!(sets, [0, 0], "{wait:?}: {output}");
    }
}

#[test]
fn a_command_gains_no_rights_unless_it_may() {
    let run = r#"run = ["/bin/grep", "NoNewPrivs", "/proc/self/status"]"#;
    assert_eq!(site(run).output(&[]), "NoNewPrivs:\t1\n");
    let free = site(&format!("{run}\nno_new_privileges = false"));
    assert_eq!(free.output(&[]), "NoNewPrivs:\t0\n");
}

// --- whose rights it has

#[test]
fn root_runs_a_command_with_only_another_users_rights() {
    if !is_root() {
        return;
    }
    let ids = r#"run = ["/bin/sh", "-c", "id -u; id -ru; id -g; id -rg; id -G; echo $USER $LOGNAME $HOME $SHELL; grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status"]"#;
    let none = "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n";
    let nobody = fs::read_to_string("/etc/passwd").unwrap();
    let nobody = nobody.lines().find(|line| line.starts_with("nobody:")).unwrap();
    let nobody: Vec<&str> = nobody.split(':').collect();
    let (uid, gid) = (nobody[2], nobody[3]);
    let known = format!(
        "{uid}\n{uid}\n{gid}\n{gid}\n{gid}\nnobody nobody {} {}\n{none}",
        nobody[5], nobody[6]
    );
    for user in ["nobody", uid] {
        let site = site(&format!("{ids}\nuser = \"{user}\""));
        assert_eq!(site.output(&[]), known, "{user}");
    }
    let unnamed = site(&format!("{ids}\nuser = \"47110815\""));
    let n = "47110815";
    let expected = format!("{n}\n{n}\n{n}\n{n}\n{n}\n{n} {n} / /bin/sh\n{none}");
    assert_eq!(unnamed.output(&[]), expected, "a number that passwd does not know");
    let grouped = site(&format!("{ids}\nuser = \"nobody\"\ngroup = \"tty\""));
    let output = grouped.output(&[]);
    let lines: Vec<&str> = output.lines().collect();
    let tty = fs::read_to_string("/etc/group").unwrap();
    let tty = tty.lines().find(|line| line.starts_with("tty:")).unwrap().split(':').nth(2).unwrap();
    assert_eq!(lines[..4], [uid, uid, tty, tty], "{output}");
    let groups: Vec<&str> = lines[4].split(' ').collect();
    assert!(groups.contains(&tty) && !groups.contains(&"0"), "{output}");
}

#[test]
fn another_users_command_cannot_read_the_secrets() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    fs::set_permissions(site.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let root = site.root().display();
    site.probe(&format!(
        "user = \"nobody\"\nrun = [\"/bin/sh\", \"-c\", \"cat {root}/host {root}/pager; ls {root}/state; exit 0\"]"
    ));
    let output = site.output(&[]);
    assert_eq!(output.matches("Permission denied").count(), 3, "{output}");
}

#[test]
fn an_unknown_user_or_group_is_answered_as_unavailable() {
    let site = Site::new();
    let cases = [
        ("user = \"ghost-of-nobody\"", "there is no user ghost-of-nobody"),
        ("group = \"ghosts-of-nobody\"", "there is no group ghosts-of-nobody"),
    ];
    for (line, says) in cases {
        site.probe(&format!(
            "run = [\"/bin/sh\", \"-c\", \"echo x >>{}/marks\"]\n{line}",
            site.root().display()
        ));
        assert_eq!(site.denied(&[]), ("unavailable".to_owned(), format!("unavailable: {says}")));
        let checked = site.tool(&["check"]);
        assert_eq!(checked.status, 1, "{checked:?}");
        assert!(
            checked.stdout.contains(&format!("[command.probe] cannot be run: {says}")),
            "{checked:?}"
        );
    }
    assert_eq!(site.marks(), 0);
}

/// As root: `nobody`, whose site it is, may not run a command with this line. Returns what it is told.
fn is_unavailable_to_nobody(line: &str, says: &str) {
    let site = Site::without_spool();
    site.probe(&format!("run = [\"/usr/bin/id\"]\n{line}"));
    let mail = message(&site.sign(&[], &["probe"]));
    site.give_to_nobody();
    assert_eq!(site.as_nobody(&["init"], b"").status, 0);
    let arguments = ["deliver", "--verbose", "--wait", "--profile", "mailbox"];
    let delivered = site.as_nobody(&arguments, mail.as_bytes());
    assert_eq!((delivered.status, site.answers().len()), (0, 1), "{delivered:?}");
    let answer = site.answers().remove(0);
    let expected = format!("unavailable: {says}");
    assert!(headline(&answer).starts_with(&expected), "{line}: {answer}");
    let begins = "refused reason=unavailable verdict=unavailable key=alice ";
    assert!(delivered.stderr.starts_with(begins), "{delivered:?}");
}

#[test]
fn only_root_runs_commands_as_another_user() {
    if is_root() {
        is_unavailable_to_nobody("user = \"root\"", "only root can run it as root");
        is_unavailable_to_nobody("user = \"4711\"", "only root can run it as 4711");
    }
}

#[test]
fn only_root_runs_commands_as_another_group() {
    if is_root() {
        is_unavailable_to_nobody("group = \"root\"", "only root can");
    }
}

// --- whom it answers

#[test]
fn an_address_of_any_form_that_is_taken_is_answered() {
    for address in
        ["alice@[127.0.0.1]", "alice@[IPv6:::1]", "\\\"a b\\\"@example.com", "a+b@example.com"]
    {
        let site = Site::new();
        site.configure("alice@example.com", address);
        site.configure("signing_key", "notify = [\"ops@[127.0.0.1]\"]\nsigning_key");
        let delivered = site.deliver(&message(&site.sign(&[], &["mark"])));
        assert_eq!((delivered.status, site.marks()), (0, 1), "{address}: {delivered:?}");
        let answers = site.answers();
        assert_eq!(answers.len(), 2, "{address}: {delivered:?}");
        let to = format!("\nTo: {}\n", address.replace('\\', ""));
        assert!(answers.iter().any(|answer| answer.contains(&to)), "{address}: {answers:?}");
    }
}

#[test]
fn everybody_notified_gets_a_mail_of_their_own() {
    let site = Site::new();
    let addresses = "notify = [\"root@example.com\", \"a+b@example.com\", \"ab@example.com\"]";
    site.configure("signing_key", &format!("{addresses}\nsigning_key"));
    assert_eq!(site.deliver(&message(&site.sign(&[], &["mark"]))).status, 0);
    let answers = site.answers();
    let ids: BTreeSet<&str> = answers
        .iter()
        .filter_map(|answer| answer.lines().find(|line| line.starts_with("Message-ID: ")))
        .collect();
    assert_eq!((answers.len(), ids.len()), (4, 4), "{answers:?}");
    for to in ["To: root@example.com\n", "To: a+b@example.com\n", "To: ab@example.com\n"] {
        assert!(answers.iter().any(|answer| answer.contains(to)), "{to}");
    }
}

// --- which programs

#[test]
fn an_untrusted_or_unusable_program_is_answered_as_unavailable() {
    let site = Site::new();
    let program = site.path("bin/program");
    let root = site.root().display().to_string();
    fs::create_dir(site.path("bin")).unwrap();
    site.probe(&format!("run = [\"{}\"]", program.display()));
    let unavailable = |name: &str, says: &str| {
        let (delivered, answer) = site.ask_with(&[], &["probe"]);
        assert_eq!(site.verified(&answer)["verdict"], "unavailable", "{name}: {answer}");
        let subject = headline(&answer);
        assert!(subject.starts_with("unavailable: ") && subject.contains(says), "{name}: {answer}");
        assert!(
            delivered.stderr.starts_with("refused reason=unavailable "),
            "{name}: {delivered:?}"
        );
        assert_eq!(site.marks(), 0, "{name}");
        let checked = site.tool(&["check"]);
        assert!(checked.status == 1 && checked.stdout.contains(says), "{name}: {checked:?}");
    };
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    unavailable("missing", "bin/program: there is no such file");
    site.write_program("bin/program", &format!("#!/bin/sh\necho ran >>{root}/marks\n"));
    mode(&program, 0o644);
    unavailable("not executable", "bin/program: not a program");
    mode(&program, 0o757);
    unavailable("everybody may write to it", "bin/program: everybody may write to it");
    mode(&program, 0o755);
    mode(&site.path("bin"), 0o777);
    unavailable("everybody may write to its directory", "/bin: everybody may write to it");
    mode(&site.path("bin"), 0o755);
    fs::rename(&program, site.path("real")).unwrap();
    mode(&site.path("real"), 0o757);
    std::os::unix::fs::symlink("../real", &program).unwrap();
    unavailable("a link to what everybody may write to", "real: everybody may write to it");
    fs::remove_file(&program).unwrap();
    fs::create_dir(&program).unwrap();
    unavailable("a directory", "bin/program: not a program");
    if is_root() {
        fs::remove_dir(&program).unwrap();
        mode(&site.path("real"), 0o755);
        fs::rename(site.path("real"), &program).unwrap();
        std::os::unix::fs::chown(&program, Some(65534), None).unwrap();
        unavailable("another user's", "bin/program: it belongs to nobody");
        std::os::unix::fs::chown(&program, Some(0), None).unwrap();
        assert_eq!(headline(&site.ask(&["probe"])), "exit status 0");
        assert_eq!(site.marks(), 1, "once it is mended");
    }
}

#[test]
fn a_program_the_kernel_rejects_is_answered_as_not_started() {
    let site = Site::new();
    let program = site.write_program("program", "#!/nowhere/interpreter\n");
    site.probe(&format!("run = [\"{}\"]", program.display()));
    let answer = site.ask(&["probe"]);
    let expected =
        format!("not started: {}: No such file or directory (os error 2)", program.display());
    assert_eq!(headline(&answer), expected);
    assert_eq!(site.verified(&answer)["status"], Value::Null);
}

// --- arguments

/// Lets alice print one word of this type.
fn print_one(site: &Site, kind: &str) {
    site.probe(&format!(
        "run = [\"/usr/bin/printf\", \"<%s>\", \"{{one}}\", \"end\"]\nargs = {{ one = {{ {kind} }} }}"
    ));
}

#[test]
fn arguments_of_each_type_reach_the_program() {
    let site = Site::new();
    for (kind, words) in [
        ("one_of = [\"nginx\", \"-x\"]", &["nginx", "-x"][..]),
        ("type = \"int\", min = -5, max = 100", &["-5", "0", "100"]),
        ("type = \"word\", chars = \"a-z0-9.-\", max = 5", &["a", "a-1.x"]),
        ("type = \"hostname\"", &["web1", "a.b-c.example"]),
        ("type = \"ip\"", &["192.0.2.1", "2001:db8::1"]),
        ("type = \"text\", max = 5", &["", "a b", "äöüßé"]),
    ] {
        print_one(&site, kind);
        for word in words {
            assert_eq!(site.output(&[word]), format!("<{word}><end>"), "{kind}");
        }
    }
}

#[test]
fn arguments_of_no_such_type_are_denied() {
    let site = Site::new();
    for (kind, words) in [
        ("one_of = [\"nginx\", \"-x\"]", &["", "Nginx", "nginx ", "-y"][..]),
        ("type = \"int\", min = -5, max = 100", &["-6", "101", "+1", "01", "1e1", "٣", "--help"]),
        (
            "type = \"word\", chars = \"a-z0-9.-\", max = 5",
            &["", "-a", "--", "A", "a b", "a/b", "abcdef"],
        ),
        ("type = \"hostname\"", &["-a", "a-", "a..b", "a_b", "a b", "$(id)"]),
        ("type = \"ip\"", &["192.0.2", "192.0.2.1/8", "fe80::1%lo", "-1"]),
        ("type = \"text\", max = 5", &["-a", "--", "a\nb", "a\tb", "\u{7f}", "\u{85}", "123456"]),
    ] {
        print_one(&site, kind);
        site.configure("[key.pager]", "per_hour = 1000\n\n[key.pager]");
        for word in words {
            let answer = site.ask(&["probe", word]);
            let denied = "denied: argument one does not match its type";
            assert_eq!(headline(&answer), denied, "{kind}: {word:?}");
        }
    }
}

/// A placeholder that is named twice counts where it is named first.
#[test]
fn words_fill_the_placeholders_in_order_and_all_are_needed() {
    let site = site(
        r#"run = ["/usr/bin/printf", "<%s>", "{to}", "-f", "{from}", "{to}"]
args = { from = { type = "hostname" }, to = { type = "ip" } }"#,
    );
    assert_eq!(site.output(&["::1", "web1"]), "<::1><-f><web1><::1>");
    for (words, says) in [
        (&[][..], "denied: argument to is missing"),
        (&["::1"], "denied: argument from is missing"),
        (&["web1", "::1"], "denied: argument from does not match its type"),
        (&["::1", "web1", "more"], "denied: more arguments than the command takes"),
    ] {
        assert_eq!(site.denied(words), ("denied".to_owned(), says.to_owned()), "{words:?}");
    }
}

#[test]
fn hostile_text_reaches_the_program_as_one_word() {
    let site = Site::new();
    let marks = site.path("marks");
    let marks = marks.display();
    site.probe(
        r#"run = ["/usr/bin/printf", "<%s>", "{one}", "end"]
args = { one = { type = "text", max = 200 } }"#,
    );
    for word in [
        format!("$(echo ran >>{marks})"),
        format!("`echo ran >>{marks}`"),
        format!("; echo ran >>{marks}; #"),
        format!("x' || echo ran >>{marks} || '"),
        format!("x\" | tee {marks} \""),
        format!("& echo ran >{marks} &"),
        format!(">{marks}"),
        "*".to_owned(),
        "~root".to_owned(),
        "%s%n%s".to_owned(),
        "\\x41\\n".to_owned(),
        "{one}".to_owned(),
        "${HOME} $PATH".to_owned(),
        "../../etc/passwd".to_owned(),
        "a = \"b\"  c".to_owned(),
        " leading and trailing ".to_owned(),
        "\u{202e}desrever".to_owned(),
        "日本語 \u{1f600}".to_owned(),
    ] {
        assert_eq!(site.output(&[&word]), format!("<{word}><end>"));
    }
    assert_eq!(site.marks(), 0);
}

#[test]
fn a_request_older_than_a_command_takes_is_denied() {
    let site = site("run = [\"/bin/true\"]\nmax_age = \"1m\"");
    assert_eq!(headline(&site.ask(&["probe"])), "exit status 0");
    let old = run(Command::new("date").args(["-u", "-d", "-2 min", "+%Y-%m-%dT%H:%M:%SZ"]), b"");
    let (delivered, answer) = site.ask_with(&["--issued-at", old.stdout.trim()], &["probe"]);
    // signed before this spool was made, but within the skew of it
    assert_eq!(headline(&answer), "denied: the request is too old for this command");
    assert!(
        delivered.stderr.starts_with("refused reason=max-age verdict=denied "),
        "{delivered:?}"
    );
}

// --- what is not a command of the site

#[test]
fn a_dry_run_says_what_would_run_and_runs_nothing() {
    let site = Site::new();
    let (_, answer) = site.ask_with(&["--dry-run"], &["mark"]);
    assert_eq!(headline(&answer), "would run; nothing was run");
    let argv = format!("echo ran >>{}; echo done", site.path("marks").display());
    let verified = site.verified(&answer);
    assert_eq!(verified["output"], format!("[\"/bin/sh\", \"-c\", {argv:?}]\n"));
    assert_eq!((&verified["status"], site.marks()), (&Value::Null, 0));
    let (_, answer) = site.ask_with(&["-n"], &["say", "-x"]);
    assert_eq!(headline(&answer), "denied: argument what does not match its type");
}

#[test]
fn a_ping_is_answered_by_who_is_there() {
    let site = Site::new();
    let answer = site.ask(&["ping"]);
    assert_eq!(headline(&answer), "done");
    let output = site.verified(&answer)["output"].as_str().unwrap().to_owned();
    assert!(output.starts_with("web1 is here, and you are alice.\nIts clock says 2"), "{output}");
    assert!(
        output.ends_with(&format!("\nnetsysrq-mail {}\n", env!("CARGO_PKG_VERSION"))),
        "{output}"
    );
    let denied = site.ask(&["ping", "more"]);
    assert_eq!(headline(&denied), "denied: more arguments than the command takes");
}

#[test]
fn help_says_what_this_key_may_do_and_nothing_of_others() {
    let site = Site::new();
    site.probe(
        r#"run = ["/bin/echo", "{unit}", "{n}", "{t}"]
args = { unit = { one_of = ["nginx", "postgresql"] }, n = { type = "int", min = 1, max = 9 }, t = { type = "text", max = 9 } }
description = "says three words"

[command.hidden]
run = ["/bin/true"]"#,
    );
    site.configure("[key.pager]", "sysrq = [\"sub\"]\n\n[key.pager]");
    let verified = site.verified(&site.ask(&["help"]));
    let expected = "alice may ask for:\n  ping\n  help\n  mark\n  say WHAT\n  fail\n  flood\n  sleep\n  \
                    probe nginx|postgresql 1..9 T: says three words\n  sysrq sub\n";
    assert_eq!(verified["output"], expected);
    assert_eq!(headline(&site.ask(&["hidden"])), "denied: this key may not do that here");
    assert_eq!(headline(&site.ask(&["unheard-of"])), "denied: there is no such command here");
    let pager = site.sign_as("pager", &[], "web1", &["help"]);
    let before = site.answers();
    assert_eq!(site.deliver(&message(&pager)).status, 0);
    let answers = site.answers();
    let answer = answers.iter().find(|answer| !before.contains(answer)).unwrap();
    assert_eq!(headline(answer), "denied: this key may not do that here");
    assert!(answer.contains("\nTo: ops@example.com\n"), "{answer}");
}

#[test]
fn what_ends_the_machine_is_announced_and_its_result_follows() {
    let site = Site::new();
    let root = site.root().display().to_string();
    site.probe(&format!(
        "answer = \"before\"\n\
         run = [\"/bin/sh\", \"-c\", \"ls {root}/answers | grep -c notice; echo ran >>{root}/marks\"]\n\n\
         [sysrq]\nsettle = \"0s\""
    ));
    let request = site.sign(&[], &["probe"]);
    let delivered = site.deliver(&message(&request));
    assert_eq!((delivered.status, site.marks()), (0, 1), "{delivered:?}");
    let mut answers = site.answers();
    assert_eq!(answers.len(), 2);
    answers.sort_by_key(|answer| site.verified(answer)["stage"] != "notice");
    let [notice, result] = [&answers[0], &answers[1]];
    assert_eq!(headline(notice), "starting probe; the machine may not be able to say more");
    let (notice, verified) = (site.verified(notice), site.verified(result));
    assert_eq!((&notice["stage"], &notice["out"]), (&"notice".into(), &Value::Null));
    assert_eq!(verified["stage"], "result");
    assert_eq!(verified["output"], "1\n", "the notice was handed over before the command ran");
    assert_eq!(headline(result), "exit status 0");
    assert_eq!(notice["cti"], verified["cti"]);
    assert_eq!((site.deliver(&message(&request)).status, site.answers().len()), (1, 2));
}

#[test]
fn the_settling_time_passes_between_notice_and_command() {
    let site = site("answer = \"before\"\nrun = [\"/bin/true\"]\n\n[sysrq]\nsettle = \"700ms\"");
    let begun = Instant::now();
    let delivered = site.deliver(&message(&site.sign(&[], &["probe"])));
    assert_eq!((delivered.status, site.answers().len()), (0, 2), "{delivered:?}");
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
}

#[test]
fn a_command_may_be_a_script_of_the_site() {
    let site = Site::new();
    let script = site.write_program("script", "#!/bin/sh\necho \"$0 $# $1\"\n");
    site.probe(&format!("run = [\"{}\", \"a  b\"]", script.display()));
    assert_eq!(site.output(&[]), format!("{} 1 a  b\n", script.display()));
}

/// For root: nobody else can go before others.
#[test]
fn commands_get_nothing_of_the_runners_urgency() {
    let site = Site::new();
    site.configure(
        "echo to stdout; echo to stderr >&2; exit 3",
        "nice; cat /proc/self/oom_score_adj",
    );
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: not root");
        return;
    }
    let ran = site.deliver(&message(&site.sign(&[], &["fail"])));
    assert_eq!(ran.status, 0, "{ran:?}");
    let answer = site.answers().concat();
    assert!(answer.contains("Output (4 octets):\n\n0\n0\n"), "{answer}");
}
