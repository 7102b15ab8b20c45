//! Mail that is damaged, forged, huge or hostile, and callers that call us wrongly: nothing runs, nobody is answered,
//! and the mail system hears one of the few statuses that it understands.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::{Duration, Instant};

use netsysrq_mail::protocol::wire::message::{Candidate, SEARCHED};

use crate::forgeries::{flip, flipped_frames, framed};
use crate::support::{PROGRAM, Ran, Site, message, run, run_fed};

/// No delivery takes longer, in a debug build on a busy machine.
const BOUND: Duration = Duration::from_secs(60);
/// The address space that a delivery is given, in KiB: its resident set cannot be larger.
const MEMORY: u32 = 64 * 1024;
const MIB: usize = 1024 * 1024;

/// Runs a command that must read all of `mail`, however long, and end within [`BOUND`].
fn feed(command: &mut Command, mail: Vec<u8>) -> Ran {
    let begun = Instant::now();
    let (ran, taken) = run_fed(command, mail);
    taken.unwrap_or_else(|error| panic!("{command:?} left input: {error}"));
    assert!(begun.elapsed() < BOUND, "{command:?}: {:?}", begun.elapsed());
    ran
}

/// Delivers inline for a mailbox, with no more than [`MEMORY`].
fn deliver(site: &Site, mail: Vec<u8>) -> Ran {
    let limited = format!("ulimit -v {MEMORY} && exec \"$0\" \"$@\"");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &limited, PROGRAM, "--config"]).arg(site.path("config.toml"));
    feed(command.args(["deliver", "--verbose", "--wait", "--profile", "mailbox"]), mail)
}

#[test]
fn the_program_refuses_flipped_bits_by_name() {
    let site = Site::new();
    let signed = site.sign(&[], &["mark"]);
    let mut found = Candidate::find(message(&signed).as_bytes()).candidates;
    let octets = found.remove(0).into_octets();
    let frame = framed(&octets);

    for (text, is_spare) in flipped_frames(&frame).into_iter().step_by(151) {
        assert!(!is_spare);
        let ran = deliver(&site, message(&text).into_bytes());
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.starts_with("refused reason=damaged "), "{ran:?}");
    }
    let at = |text: &str| octets.windows(text.len()).position(|part| part == text.as_bytes());
    let (kid, command) = (at("alice").unwrap(), at("mark").unwrap());
    for (bit, reason) in [
        (0, "form"),
        (kid * 8, "unknown-key"),
        (command * 8, "signature"),
        (octets.len() * 8 - 1, "signature"),
    ] {
        let ran = deliver(&site, message(&framed(&flip(&octets, bit))).into_bytes());
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.starts_with(&format!("refused reason={reason} ")), "{ran:?}");
    }
    assert_eq!((site.marks(), site.answers().len()), (0, 0));

    let ran = deliver(&site, message(&frame).into_bytes());
    assert_eq!((ran.status, site.marks(), site.answers().len()), (0, 1, 1), "{ran:?}");
}

#[test]
fn input_without_a_mail_in_it_is_not_for_us() {
    let site = Site::new();
    for mail in [
        &b""[..],
        b"\n",
        b"\r",
        b"\0",
        b"\n\n\n\n",
        b"From ",
        b"From \n",
        b":",
        b"Subject:",
        b"--",
        b"\xff\xfe\xfd",
        &[0; 4096],
        &[0xff; 4096],
    ] {
        let ran = deliver(&site, mail.to_vec());
        assert_eq!((ran.status, ran.stdout, ran.stderr), (1, String::new(), String::new()));
    }
}

#[test]
fn a_request_among_nul_octets_is_run() {
    let site = Site::new();
    let strewn = site.sign(&[], &["mark"]).replace(' ', "\0 ");
    let surrounded = format!("\0\0\0\n{}\0\0\0", site.sign(&[], &["mark"]));
    let in_headers = message(&site.sign(&[], &["mark"])).replace("hello", "hel\0lo");
    for mail in [message(&strewn), message(&surrounded), in_headers] {
        let ran = deliver(&site, mail.into_bytes());
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    assert_eq!((site.marks(), site.answers().len()), (3, 3));
}

#[test]
fn a_request_between_bare_carriage_returns_is_run() {
    let site = Site::new();
    let in_text = message(&site.sign(&[], &["mark"]).replace('\n', "\r"));
    let everywhere = message(&site.sign(&[], &["mark"])).replace('\n', "\r");
    let doubled = message(&site.sign(&[], &["mark"])).replace('\n', "\r\r\n");
    for mail in [in_text, everywhere, doubled] {
        let ran = deliver(&site, mail.into_bytes());
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    assert_eq!((site.marks(), site.answers().len()), (3, 3));
}

/// Only its head is searched.
#[test]
fn a_mail_of_50_mib_is_read_in_bounded_memory() {
    let site = Site::new();
    let line = b"All is quiet, the lamps are green, and there is nothing to do tonight.\n";
    let filler = |octets: usize| line.iter().copied().cycle().take(octets);

    let mut first = message(&site.sign(&[], &["mark"])).into_bytes();
    first.extend(filler(50 * MIB));
    let ran = deliver(&site, first);
    assert_eq!((ran.status, site.marks(), site.answers().len()), (0, 1, 1), "{ran:?}");

    for distance in [SEARCHED, 50 * MIB] {
        let mut behind = message("").into_bytes();
        behind.extend(filler(distance));
        behind.extend(site.sign(&[], &["mark"]).into_bytes());
        let ran = deliver(&site, behind);
        assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (1, "", ""));
    }
    assert_eq!((site.marks(), site.answers().len()), (1, 1));
}

#[test]
fn a_request_is_found_among_ten_thousand_parts() {
    let site = Site::new();
    let parts = |count: usize, at: usize, text: &str, other: &str| {
        let mut mail =
            "Message-ID: <1@client.example>\nContent-Type: multipart/mixed; boundary=b\n\n"
                .to_owned();
        for n in 0..count {
            mail.push_str(if n == at {
                "--b\nContent-Transfer-Encoding: base64\n\n"
            } else {
                "--b\n\n"
            });
            mail.push_str(if n == at { text } else { other });
        }
        mail + "--b--\n"
    };
    let packed = |text: &str| {
        use base64ct::{Base64, Encoding};
        Base64::encode_string(text.as_bytes()) + "\n"
    };
    for at in [0, 9_999] {
        let mail = parts(10_000, at, &packed(&site.sign(&[], &["mark"])), "x\n");
        assert!(mail.len() < SEARCHED);
        assert_eq!(deliver(&site, mail.into_bytes()).status, 0);
    }
    assert_eq!(site.marks(), 2);

    // only a limited number of texts is unpacked
    let other = packed(&"there is nothing to be seen here\n".repeat(2));
    let last = parts(200, 199, &packed(&site.sign(&[], &["mark"])), &other);
    assert!(last.len() < SEARCHED);
    let ran = deliver(&site, last.into_bytes());
    assert_eq!((ran.status, ran.stderr.as_str(), site.marks()), (1, "", 2));
}

/// Mails that were made to cost time, stack or memory.
fn hostile_mails() -> Vec<(&'static str, String)> {
    let nested = |depth: usize| {
        let mut mail = String::new();
        for n in 0..depth {
            mail.push_str(&format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n"));
        }
        mail
    };
    let html = |body: String| format!("Content-Type: text/html\n\nnetsysrq begin{body}");
    let in_header = |text: String| format!("Subject: x\nFrom: {text}\nTo: {text}\n\nx\n");
    let marker = "netsysrq begin\n";
    vec![
        ("multiparts in multiparts", nested(4000)),
        ("forwards in forwards", "Content-Type: message/rfc822\n\n".repeat(8000)),
        ("parts of one boundary", format!("{}{}", nested(1), "--b0\n".repeat(40_000))),
        (
            "parts with a marker each",
            format!("{}{}", nested(1), "--b0\n\nnetsysrq begin\n".repeat(11_000)),
        ),
        ("header lines", "a: b\n".repeat(50_000)),
        ("a header line of 250 KiB", format!("Subject: {}\n\nx\n", "x".repeat(250 * 1024))),
        ("a header folded 80,000 times", format!("Subject: x{}\n\nx\n", "\n x".repeat(80_000))),
        ("encoded words", format!("Subject:{}\n\nx\n", " =?utf-8?q?netsysrq?=".repeat(12_000))),
        ("addresses", in_header("a@b,".repeat(30_000))),
        ("comments in comments", in_header("(".repeat(120_000))),
        ("quotes", in_header("\"".repeat(120_001))),
        ("groups", in_header("a:".repeat(60_000))),
        ("parameters", format!("Content-Type: text/plain; {}\n\nx\n", "a*0*=b; ".repeat(30_000))),
        ("message ids", format!("Message-ID: {}\n\nx\n", "<a@b>".repeat(50_000))),
        ("tags that open", html("<".repeat(250_000))),
        ("tags in tags", html("<div>".repeat(50_000))),
        ("comments that do not end", html("<!--".repeat(60_000))),
        ("entities", html("&#x41;".repeat(40_000))),
        ("entities that do not end", html("&".repeat(250_000))),
        ("markers", format!("Subject: x\n\n{}", marker.repeat(17_000))),
        ("names of the marker", format!("Subject: x\n\n{}", "netsysrq ".repeat(29_000))),
        (
            "markers that promise much",
            format!("Subject: x\n\n{}", "netsysrq begin 0408b ".repeat(12_000)),
        ),
        (
            "letters that NFKC makes eighteen of",
            format!("Subject: x\n\n{marker}{}", "\u{fdfa}".repeat(80_000)),
        ),
        (
            "marks on one letter",
            format!("Subject: x\n\n{marker}a{}", "\u{301}\u{323}".repeat(60_000)),
        ),
        ("quote marks", format!("Subject: x\n\n{marker}{}", ">".repeat(250_000))),
        ("initials before each marker", {
            let initials =
                |n: usize| [n / 676, n / 26, n].map(|n| b"abcdefghijklmnopqrstuvwxyz"[n % 26]);
            let quoted = |n| format!("{}> {marker}", String::from_utf8_lossy(&initials(n)));
            format!("Subject: x\n\n{}", (0..12_000).map(quoted).collect::<String>())
        }),
        ("initials of many letters", format!("Subject: x\n\n{}>{marker}", "a".repeat(250_000))),
        (
            "escapes in escapes",
            format!("Subject: x\n\n{marker}{}", format!("%{}", "25".repeat(100)).repeat(1200)),
        ),
        ("escapes that are broken", format!("Subject: x\n\n{marker}{}", "%\n-=".repeat(60_000))),
        ("soft line breaks", format!("Subject: x\n\n{marker}{}", "= \n".repeat(80_000))),
        ("entities in text", format!("Subject: x\n\n{marker}{}", "&amp;#65018;".repeat(20_000))),
        (
            "entities in text that do not end",
            format!("Subject: x\n\n{marker}{}", "&".repeat(250_000)),
        ),
        (
            "a Subject of a megabyte",
            format!("Subject: {}\n\n{marker}\n", marker.replace('\n', " ").repeat(70_000)),
        ),
        (
            "encoded words of a megabyte",
            format!("Subject:{}\n\nx\n", " =?iso-2022-jp?b?GyRC?=".repeat(45_000)),
        ),
        (
            "shifts of iso-2022-jp",
            format!(
                "Content-Type: text/plain; charset=iso-2022-jp\n\n{marker}{}",
                "\u{1b}$B\u{1b}(B".repeat(40_000)
            ),
        ),
        ("escapes", format!("Subject: x\n\n{marker}{}", "%25".repeat(80_000))),
        (
            "quoted-printable that lies",
            format!(
                "Content-Transfer-Encoding: quoted-printable\n\n{marker}{}",
                "=".repeat(250_000)
            ),
        ),
        (
            "base64 that lies",
            format!("Content-Transfer-Encoding: base64\n\n{marker}{}", "=".repeat(250_000)),
        ),
        (
            "an unknown character set",
            format!(
                "Content-Type: text/plain; charset=x-none\n\n{marker}{}",
                "\u{e9}".repeat(120_000)
            ),
        ),
    ]
}

/// They are made to cost time, stack or memory.
#[test]
fn costly_mails_are_not_for_us() {
    let site = Site::new();
    for (what, mail) in hostile_mails() {
        let ran = deliver(&site, mail.into_bytes());
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{what}: {ran:?}");
        assert!(
            ran.stderr.is_empty() || ran.stderr.starts_with("refused reason=damaged"),
            "{what}: {ran:?}"
        );
    }
    assert_eq!((site.marks(), site.answers().len()), (0, 0));
}

fn assert_thousands_of_frames_fill_no_log(site: &Site) {
    let frames: String = (0..4000_u32).map(|n| framed(&n.to_be_bytes())).collect();
    let mail = message(&frames).into_bytes();
    assert!(mail.len() < SEARCHED);
    let ran = deliver(site, mail);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.starts_with("refused reason=form "));
    let lines = ran.stderr.lines().count();
    assert!(lines <= 60, "{lines} lines");
}

#[test]
fn a_mail_of_thousands_of_frames_fills_no_log() {
    assert_thousands_of_frames_fill_no_log(&Site::new());
}

#[test]
fn without_a_spool_thousands_of_frames_fill_no_log() {
    assert_thousands_of_frames_fill_no_log(&Site::without_spool());
}

#[test]
fn every_delivery_reads_its_input_to_the_end_and_says_nothing() {
    let site = Site::new();
    let missing = site.path("missing.toml");
    let mailbox = ["deliver", "--wait", "--profile", "mailbox"];
    let (good, bad) = (site.sign(&[], &["mark"]), site.sign(&[], &["unheard-of"]));
    let config = |path: &std::path::Path| {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(path).args(mailbox);
        command
    };
    let here = site.path("config.toml");
    let mut wrongly = config(&here);
    wrongly.arg("--bogus");
    for (mut command, text, status) in [
        (config(&here), "", 1),
        (config(&here), good.as_str(), 0),
        (config(&here), &good, 1),
        (config(&here), &bad, 0),
        (config(&here), "netsysrq begin", 1),
        (config(&missing), "", 1),
        (config(&missing), &good, 75),
        (wrongly, &good, 75),
    ] {
        let mut mail = message(text).into_bytes();
        mail.extend(b"x\n".repeat(MIB / 2));
        let ran = feed(&mut command, mail);
        assert_eq!(
            (ran.status, ran.stdout.as_str(), ran.stderr.as_str()),
            (status, "", ""),
            "{command:?}"
        );
    }
    assert_eq!(site.marks(), 1);
}

#[test]
fn a_wrong_command_line_fails_for_now_and_runs_nothing() {
    let site = Site::new();
    let mut mail = message(&site.sign(&[], &["mark"])).into_bytes();
    mail.extend(b"x\n".repeat(MIB / 2));
    let not_utf_8 = OsStr::from_bytes(b"--profile=\xff");
    let words = |line: &'static str| line.split(' ').map(OsStr::new).collect::<Vec<_>>();
    for (arguments, status) in [
        (words("--bogus"), 75),
        (words("-x"), 75),
        (words("delivr"), 75),
        (words("deliver deliver"), 75),
        (words("deliver sign"), 75),
        (words("deliver --help"), 75),
        (words("deliver --version"), 75),
        (words("--wait=yes"), 75),
        (words("--verbos"), 75),
        (words("--profile"), 75),
        (words("--profile procmail"), 75),
        (words("--profile mailbox --config"), 75),
        (words("--profile mailbox mailbox"), 75),
        (words("--profile mailbox --bogus"), 75),
        (words("--profile mta --bogus"), 75),
        (words("--profile qmail --bogus"), 111),
        (words("--bogus --profile=qmail"), 111),
        (words("--profile=qmail deliver --config /a --config /b"), 111),
        (words("-- deliver"), 75),
        (words(""), 75),
        (vec![not_utf_8], 75),
        (vec![OsStr::new("deliver"), not_utf_8], 75),
    ] {
        let ran = feed(site.program().args(&arguments), mail.clone());
        let told = (ran.status, ran.stdout.as_str(), ran.stderr.as_str());
        assert_eq!(told, (status, "", ""), "{arguments:?}");
    }
    assert_eq!((site.marks(), site.answers().len()), (0, 0));
}

#[test]
fn closed_or_full_standard_streams_change_no_outcome() {
    let site = Site::new();
    let delivered = |redirected: &str, mail: String| {
        let script = format!("exec \"$0\" \"$@\" {redirected}");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, PROGRAM, "--config"]).arg(site.path("config.toml"));
        command.args(["deliver", "--verbose", "--wait", "--profile", "mailbox"]);
        run(&mut command, mail.as_bytes()).status
    };
    for (n, redirected) in
        ["2>&-", ">&-", ">&- 2>&-", ">/dev/full 2>/dev/full", "2</dev/null"].into_iter().enumerate()
    {
        assert_eq!(delivered(redirected, message(&site.sign(&[], &["mark"]))), 0, "{redirected}");
        assert_eq!((site.marks(), site.answers().len()), (n + 1, n + 1), "{redirected}");
    }
    for (redirected, status) in [("<&-", 1), ("</dev/null", 1), ("</", 75)] {
        assert_eq!(delivered(redirected, String::new()), status, "{redirected}");
    }
}

#[test]
fn a_strangers_mail_gets_no_answer_and_leaves_nothing_behind() {
    let site = Site::new();
    let made =
        run(Command::new(PROGRAM).args(["keygen", "stranger"]).current_dir(site.root()), b"");
    assert_eq!(made.status, 0, "{made:?}");
    let sign = |key_id: &str, host: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["sign", "--key-id", key_id, "--key"]).arg(site.path("stranger"));
        let signed = run(command.args([host, "mark"]), b"");
        assert_eq!(signed.status, 0, "{signed:?}");
        signed.stdout
    };
    let files = || {
        let mut files = Vec::new();
        let mut folders = vec![site.path("state"), site.path("answers")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                files.push(path);
            }
        }
        // all that a stranger may change is the count of lines that the log was given
        files.retain(|path| !path.ends_with("rate/_unverified"));
        files.sort();
        files
    };
    let before = files();
    for text in [
        String::new(),
        "netsysrq begin\n00000\n".to_owned(),
        sign("stranger", "web1"),
        sign("alice", "web1"),
        sign("alice", "web2"),
        sign("pager", "web1"),
    ] {
        for (profile, status) in [("mailbox", 1), ("mta", 0), ("qmail", 0)] {
            let mail = message(&text).replace("alice@example.com", "stranger@stranger.example");
            let ran = site.deliver_as(profile, mail.as_bytes());
            assert_eq!((ran.status, ran.stdout.as_str()), (status, ""), "{text}: {ran:?}");
        }
    }
    assert_eq!(files(), before);
    assert_eq!(site.marks(), 0);
}

#[test]
fn explain_says_where_a_request_is_damaged() {
    let site = Site::new();
    let request = site.sign(&[], &["mark"]);
    let second = request.lines().filter(|line| line.len() == 59).nth(1).unwrap();
    let explained = |request: &str| {
        let ran = site.tool_on(&["explain"], message(request).as_bytes());
        assert_eq!(ran.status, 1, "{ran:?}");
        ran.stdout
    };
    let place = "in a text part: refused reason=damaged: ";
    let lost = explained(&request.replace(second, &second[3..]));
    assert!(lost.starts_with(place) && lost.contains("3 of its 2"), "{lost}");
    assert!(lost.ends_with("; its line 2 has 47 instead of 50\n"), "{lost}");
    let swapped = if second.starts_with('7') { "8" } else { "7" };
    let changed = explained(&request.replace(second, &format!("{swapped}{}", &second[1..])));
    assert!(changed.starts_with(place) && changed.contains("some are changed"), "{changed}");
}

#[test]
fn the_longest_request_that_can_be_signed_is_run() {
    let site = Site::new();
    let sign = |length: usize| {
        let mut sign = Command::new(PROGRAM);
        sign.args(["sign", "--key-id", "alice", "--key"]).arg(site.path("alice"));
        feed(sign.args(["web1", "say", &"x".repeat(length)]), Vec::new())
    };
    let longest = (300..600).take_while(|length| sign(*length).status == 0).last().unwrap();
    let refused = sign(longest + 1);
    assert_eq!((refused.status, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("901 symbols, and 900 is the most"), "{refused:?}");
    site.configure("max = 80", &format!("max = {longest}"));
    assert_eq!(site.deliver(&message(&sign(longest).stdout)).status, 0);
    assert_eq!(site.answers().len(), 1);
    assert!(site.answers()[0].contains("exit status 0"), "{}", site.answers()[0]);
}
