//! A configuration that cannot be used: `check` says where and how to mend it, and a delivery waits for that.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{PROGRAM, Site, is_root, message, run};

/// A configuration with one thing wrong.
struct Mistake {
    name: &'static str,
    /// A part of a new site's configuration.
    from: &'static str,
    /// What replaces it.
    to: &'static str,
    /// What the faulty line contains; empty if no line is at fault.
    at: &'static str,
    /// What `check` says after the line's number, or a part of it.
    says: &'static str,
}

const fn mistake(
    name: &'static str,
    from: &'static str,
    to: &'static str,
    at: &'static str,
    says: &'static str,
) -> Mistake {
    Mistake { name, from, to, at, says }
}

/// In these `@ROOT@` is the site's directory and `@ALICE@` alice's public key.
const GENERAL: &[Mistake] = &[
    mistake(
        "an unknown key",
        "[answer]\n",
        "skwe = \"5m\"\n[answer]\n",
        "skwe",
        "unknown field `skwe`, expected one of ",
    ),
    mistake("no TOML", "groups = [\"web\"]", "groups = [\"web\"", "state", "expected `,`"),
    mistake(
        "a key given twice",
        "groups = [\"web\"]",
        "groups = [\"web\"]\nnames = [\"web1\"]",
        "names = [\"web1\"]",
        "duplicate key",
    ),
    mistake(
        "no names",
        "names  = [\"web1\", \"web1.example.com\"]",
        "names = []",
        "names = []",
        "names is empty; give this machine a name",
    ),
    mistake(
        "names left out",
        "names  = [\"web1\", \"web1.example.com\"]",
        "# none",
        "# none",
        "missing field `names`",
    ),
    mistake(
        "a name in capitals",
        "names  = [\"web1\"",
        "names  = [\"Web1\"",
        "Web1",
        "\"Web1\" is not a name: use lower case letters",
    ),
    mistake(
        "a name that is also a group",
        "groups = [\"web\"]",
        "groups = [\"web\",\n  \"web1\"]",
        "  \"web1\"]",
        "a name is also a group; remove it from one of the two",
    ),
    mistake(
        "a relative state directory",
        "state  = \"@ROOT@/state\"",
        "state  = \"state\"",
        "state  = \"state\"",
        "\"state\" is a relative path: write an absolute one",
    ),
    mistake(
        "a duration of no unit",
        "[answer]\n",
        "skew = \"five\"\n[answer]\n",
        "skew",
        "\"five\" is not a duration: write 90s, 1h30m or 30d",
    ),
    mistake(
        "a duration that is a number",
        "[answer]\n",
        "history = 30\n[answer]\n",
        "history",
        "invalid type: integer `30`",
    ),
    mistake("no places for commands", "[answer]\n", "jobs = 0\n[answer]\n", "jobs", "nonzero"),
    mistake(
        "a relative trigger",
        "[command.mark]",
        "[sysrq]\ntrigger = \"sysrq-trigger\"\n\n[command.mark]",
        "sysrq-trigger",
        "\"sysrq-trigger\" is a relative path",
    ),
];

const ANSWERS: &[Mistake] = &[
    mistake(
        "answers from no address",
        "\"netsysrq@web1.example.com\"",
        "\"web1\"",
        "from        =",
        "\"web1\" is not a mail address",
    ),
    mistake(
        "an unknown transport",
        "\"file\"\nsigning_key",
        "\"pigeon\"\nsigning_key",
        "pigeon",
        "unknown variant `pigeon`, expected one of `sendmail`, `smtp`, `file`",
    ),
    mistake(
        "files without a directory",
        "[answer.file]\ndirectory = \"@ROOT@/answers\"",
        "",
        "transport   =",
        "transport = \"file\" needs a directory; add [answer.file] with a directory",
    ),
    mistake(
        "files in a directory that is missing",
        "@ROOT@/answers",
        "@ROOT@/gone",
        "directory =",
        "@ROOT@/gone: No such file or directory (os error 2); make a directory that this user may write to",
    ),
    mistake(
        "files in a directory that is a file",
        "@ROOT@/answers",
        "@ROOT@/alice",
        "directory =",
        "@ROOT@/alice: not a directory; make a directory that this user may write to",
    ),
    mistake(
        "files in a relative directory",
        "\"@ROOT@/answers\"",
        "\"answers\"",
        "directory =",
        "\"answers\" is a relative path",
    ),
    mistake(
        "a sendmail program that is missing",
        "\"file\"\nsigning_key",
        "\"sendmail\"\nsendmail = { path = \"@ROOT@/sendmail\" }\nsigning_key",
        "transport   =",
        "@ROOT@/sendmail: there is no such file; install it, or name another",
    ),
    mistake(
        "a sendmail program that cannot be run",
        "\"file\"\nsigning_key",
        "\"sendmail\"\nsendmail = { path = \"@ROOT@/alice\" }\nsigning_key",
        "transport   =",
        "not a program; name a program that can be run",
    ),
    mistake(
        "a server without a name",
        "\"file\"\nsigning_key",
        "\"smtp\"\nsigning_key",
        "transport   =",
        "transport = \"smtp\" needs a host; add [answer.smtp] with a host",
    ),
    mistake(
        "a password in clear over the network",
        "\"file\"\n",
        "\"smtp\"\nsmtp = { host = \"mx.example.com\", user = \"web1\", password_file = \"pager\" }\n",
        "smtp = {",
        "a password would cross the network in clear; set tls = \"required\"",
    ),
    mistake(
        "a password in clear to a name that only looks like this machine",
        "\"file\"\n",
        "\"smtp\"\nsmtp = { host = \"127.0.0.1.example.com\", user = \"a\", password_file = \"pager\" }\n",
        "smtp = {",
        "a password would cross the network in clear",
    ),
    mistake(
        "a user without a password",
        "\"file\"\n",
        "\"smtp\"\nsmtp = { host = \"localhost\", user = \"web1\" }\n",
        "transport   =",
        "user and password_file go together; give both or none",
    ),
    mistake(
        "a password file that is missing",
        "\"file\"\n",
        "\"smtp\"\nsmtp = { host = \"localhost\", user = \"web1\", password_file = \"gone\" }\n",
        "smtp = {",
        "@ROOT@/gone: there is no such file; make it, or name another",
    ),
    mistake(
        "a port of no server",
        "\"file\"\n",
        "\"smtp\"\nsmtp = { host = \"localhost\", port = 65536 }\n",
        "smtp = {",
        "invalid value: integer `65536`",
    ),
    mistake(
        "a notice to no address",
        "\"file\"\nsigning_key",
        "\"file\"\nnotify = [\"-oQ/tmp\"]\nsigning_key",
        "notify",
        "\"-oQ/tmp\" is not a mail address",
    ),
    mistake(
        "a host key that is missing",
        "@ROOT@/host\"",
        "@ROOT@/gone\"",
        "signing_key =",
        "@ROOT@/gone: there is no such file; make it, or name another",
    ),
    mistake(
        "a host key on a relative path",
        "\"@ROOT@/host\"",
        "\"host\"",
        "signing_key =",
        "\"host\" is a relative path",
    ),
    mistake(
        "a host key that is a secret of HMAC",
        "@ROOT@/host\"",
        "@ROOT@/pager\"",
        "signing_key =",
        "@ROOT@/pager: not an OpenSSH Ed25519 key; make it with netsysrq-mail init",
    ),
    mistake(
        "a host key that is also the key of a person",
        "@ROOT@/host\"",
        "@ROOT@/alice\"",
        "",
        "the host's signing_key is also [key.alice]; make a key of its own with netsysrq-mail init",
    ),
];

const KEYS: &[Mistake] = &[
    mistake(
        "an unknown key of a key",
        "answer_to   = \"ops@example.com\"",
        "answer_to   = \"ops@example.com\"\nuser = \"root\"",
        "user = ",
        "unknown field `user`",
    ),
    mistake(
        "one id for two keys",
        "[key.pager]",
        "[key.alice]\npublic = \"@ALICE@\"\n\n[key.pager]",
        "[key.alice]\npublic = ",
        "duplicate key",
    ),
    mistake(
        "a key id with a slash",
        "[key.pager]",
        "[key.\"../pager\"]",
        "[key.\"../pager\"]",
        "\"../pager\" is not an id; use a-z, 0-9 and -, a letter first, 32 at most",
    ),
    mistake(
        "a public key of another kind",
        "\"@ALICE@\"",
        "\"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== alice\"",
        "public    =",
        "not an OpenSSH Ed25519 key",
    ),
    mistake(
        "a public key cut short",
        "\"@ALICE@\"",
        "\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHYF7OJVSpbnmi2K0YdDTpVtNTXFvhBGpNjp\"",
        "public    =",
        "not an OpenSSH Ed25519 key",
    ),
    mistake(
        "a public key of small order",
        "\"@ALICE@\"",
        "\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
        "public    =",
        "the key is a point of small order or not canonical",
    ),
    mistake(
        "a public key in a second spelling",
        "\"@ALICE@\"",
        "\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPD///////////////////////////////////////9/\"",
        "public    =",
        "the key is a point of small order or not canonical",
    ),
    mistake(
        "both a public key and a secret",
        "secret_file = \"pager\"",
        "secret_file = \"pager\"\npublic = \"@ALICE@\"",
        "[key.pager]",
        "a key has either public or secret_file; give one of the two",
    ),
    mistake(
        "neither a public key nor a secret",
        "secret_file = \"pager\"\n",
        "",
        "[key.pager]",
        "a key has either public or secret_file; give one of the two",
    ),
    mistake(
        "two entries of one key",
        "[command.mark]",
        "[key.bob]\npublic = \"@ALICE@\"\nanswer_to = \"bob@example.com\"\n\n[command.mark]",
        "[key.bob]",
        "the same key as [key.alice]; make another key",
    ),
    mistake(
        "two entries of one secret",
        "[command.mark]",
        "[key.zoe]\nsecret_file = \"pager\"\nanswer_to = \"zoe@example.com\"\n\n[command.mark]",
        "[key.zoe]",
        "the same key as [key.pager]; make another key",
    ),
    mistake(
        "a secret that is missing",
        "secret_file = \"pager\"",
        "secret_file = \"gone\"",
        "secret_file =",
        "@ROOT@/gone: there is no such file; make it, or name another",
    ),
    mistake(
        "a secret that is a directory",
        "secret_file = \"pager\"",
        "secret_file = \"answers\"",
        "secret_file =",
        "@ROOT@/answers: not a regular file; name a file",
    ),
    mistake(
        "nobody to answer",
        "answer_to   = \"ops@example.com\"\n",
        "",
        "[key.pager]",
        "missing field `answer_to`",
    ),
    mistake(
        "an answer to an option",
        "answer_to   = \"ops@example.com\"",
        "answer_to = \"-oQ@example.com\"",
        "-oQ",
        "\"-oQ@example.com\" is not a mail address",
    ),
    mistake(
        "an answer to two",
        "answer_to   = \"ops@example.com\"",
        "answer_to = \"ops@example.com, bob@example.com\"",
        "bob@example.com",
        " is not a mail address",
    ),
    mistake(
        "allowed what there is not",
        "allow       = [\"ping\", \"mark\"]",
        "allow       = [\"ping\",\n  \"mork\"]",
        "  \"mork\"]",
        "allow names \"mork\", which is not a command; add a [command.X] for it, or remove it",
    ),
    mistake(
        "allowed keys as if they were a command",
        "allow       = [\"ping\", \"mark\"]",
        "allow       = [\"sysrq\"]",
        "[\"sysrq\"]",
        "allow names \"sysrq\", which is not a command",
    ),
    mistake(
        "keys in capitals",
        "[command.mark]",
        "[key.bob]\nsysrq = [\"sub\", \"SUB\"]\n\n[command.mark]",
        "sysrq = ",
        "\"SUB\" is not a SysRq sequence: 1 to 16 of a-z and 0-9",
    ),
    mistake(
        "no keys",
        "[command.mark]",
        "[key.bob]\nsysrq = [\"\"]\n\n[command.mark]",
        "sysrq = ",
        "\"\" is not a SysRq sequence",
    ),
    mistake(
        "more keys than one presses",
        "[command.mark]",
        "[key.bob]\nsysrq = [\"ssssssssssssssssb\"]\n\n[command.mark]",
        "sysrq = ",
        "\"ssssssssssssssssb\" is not a SysRq sequence",
    ),
    mistake(
        "a time that is no time",
        "answer_to   = \"ops@example.com\"",
        "answer_to   = \"ops@example.com\"\nnot_after = \"tomorrow\"",
        "not_after",
        "",
    ),
    mistake(
        "a time without a zone",
        "answer_to   = \"ops@example.com\"",
        "answer_to   = \"ops@example.com\"\nnot_before = 2026-12-31",
        "not_before",
        "2026-12-31 is not a time in UTC: write 2026-12-31T00:00:00Z",
    ),
    mistake(
        "less than no requests",
        "answer_to   = \"ops@example.com\"",
        "answer_to   = \"ops@example.com\"\nper_hour = -1",
        "per_hour",
        "invalid value: integer `-1`",
    ),
];

const COMMANDS: &[Mistake] = &[
    mistake(
        "an unknown key of a command",
        "[command.fail]\n",
        "[command.fail]\nshell = true\n",
        "shell",
        "unknown field `shell`",
    ),
    mistake(
        "one name for two commands",
        "[command.fail]\n",
        "[command.mark]\n",
        "[command.mark]\nrun = [\"/bin/sh\", \"-c\", \"echo to stdout",
        "duplicate key",
    ),
    mistake(
        "a command called as a built-in",
        "[command.mark]",
        "[command.ping]\nrun = [\"/bin/true\"]\n\n[command.mark]",
        "[command.ping]",
        "this name is built in; choose another name",
    ),
    mistake(
        "a command called as a built-in to come",
        "[command.mark]",
        "[command.reboot-now]\nrun = [\"/bin/true\"]\n\n[command.mark]",
        "[command.reboot-now]",
        "this name is built in; choose another name",
    ),
    mistake(
        "a command called as the keys",
        "[command.mark]",
        "[command.sysrq]\nrun = [\"/bin/true\"]\n\n[command.mark]",
        "[command.sysrq]",
        "this name is built in; choose another name",
    ),
    mistake(
        "a command name with a blank",
        "[command.mark]",
        "[command.\"a b\"]\nrun = [\"/bin/true\"]\n\n[command.mark]",
        "[command.\"a b\"]",
        "\"a b\" is not an id",
    ),
    mistake(
        "a relative program",
        "[\"/bin/echo\", ",
        "[\"echo\", ",
        "[\"echo\", ",
        "run of say does not start with an absolute path; write the program's absolute path",
    ),
    mistake(
        "no program",
        "[command.fail]\nrun = [\"/bin/sh\", \"-c\", \"echo to stdout; echo to stderr >&2; exit 3\"]",
        "[command.fail]\nrun = []",
        "run = []",
        "run of fail does not start with an absolute path",
    ),
    mistake(
        "a program that the request would choose",
        "[\"/bin/echo\", \"{what}\"]",
        "[\"{what}\"]",
        "[\"{what}\"]",
        "run of say does not start with an absolute path",
    ),
    mistake(
        "a placeholder without a type",
        "[\"/bin/echo\", \"{what}\"]",
        "[\"/bin/echo\", \"{what}\", \"{whom}\"]",
        "{whom}",
        "{whom} has no type; add it to [command.say.args]",
    ),
    mistake(
        "a type without a placeholder",
        "[\"/bin/echo\", \"{what}\"]",
        "[\"/bin/echo\"]",
        "[\"/bin/echo\"]",
        "argument what is not used in run; write {what} in run, or remove it from args",
    ),
    mistake(
        "a placeholder inside a word",
        "\"{what}\"",
        "\"--what={what}\"",
        "--what=",
        "a placeholder is a whole word {name}, and braces may appear nowhere else",
    ),
    mistake(
        "a brace that closes nothing",
        "\"{what}\"",
        "\"what}\"",
        "what}",
        "\"what}\": a placeholder is a whole word",
    ),
    mistake(
        "a placeholder without a name",
        "\"{what}\"",
        "\"{}\"",
        "{}",
        "\"{}\": a placeholder is a whole word",
    ),
    mistake("a NUL in a word", "\"{what}\"", "\"a\\u0000b\"", "u0000", "run contains a NUL"),
    mistake(
        "an unknown type",
        "type = \"text\", max = 80",
        "type = \"regex\", max = 80",
        "regex",
        "an argument is { one_of = [...] }, ",
    ),
    mistake(
        "a text of no length",
        "type = \"text\", max = 80",
        "type = \"text\"",
        "type = \"text\"",
        "an argument is { one_of = [...] }, ",
    ),
    mistake(
        "a number between nothing",
        "type = \"text\", max = 80",
        "type = \"int\", min = 2, max = 1",
        "type = \"int\"",
        "an argument is { one_of = [...] }, ",
    ),
    mistake(
        "one of nothing",
        "type = \"text\", max = 80",
        "one_of = []",
        "one_of",
        "an argument is { one_of = [...] }, ",
    ),
    mistake(
        "a word of a range that runs backwards",
        "type = \"text\", max = 80",
        "type = \"word\", chars = \"z-a\", max = 8",
        "z-a",
        "\"z-a\" is not a set of characters",
    ),
    mistake(
        "a bad duration",
        "timeout = \"1s\"",
        "timeout = \"1 parsec\"",
        "parsec",
        "\"1 parsec\" is not a duration",
    ),
    mistake(
        "a bad size",
        "\"1KiB\"",
        "\"1KB\"",
        "1KB",
        "\"1KB\" is not a size: write 64KiB, 1MiB or a number of octets",
    ),
    mistake(
        "a size beyond all memory",
        "\"1KiB\"",
        "\"99999999999999999999MiB\"",
        "99999999999999999999MiB",
        " is not a size",
    ),
    mistake(
        "a relative working directory",
        "timeout = \"1s\"",
        "cwd = \"work\"",
        "cwd = ",
        "\"work\" is a relative path",
    ),
    mistake(
        "an answer at no time",
        "timeout = \"1s\"",
        "answer = \"during\"",
        "answer = \"during\"",
        "unknown variant `during`, expected `after` or `before`",
    ),
];

/// Tries every way into a site whose configuration was just spoiled.
struct Spoiled<'a> {
    site: &'a Site,
    name: &'a str,
    /// A request that is good once the configuration is mended.
    good: &'a str,
    /// One that expired long ago.
    expired: &'a str,
}

impl Spoiled<'_> {
    fn is_told(&self, line: Option<usize>, says: &str) {
        let checked = self.site.tool(&["check"]);
        let line = line.map(|line| format!("{line}:")).unwrap_or_default();
        let begins = format!("error: {}:{line} ", self.site.path("config.toml").display());
        let name = self.name;
        assert_eq!((checked.status, checked.stderr.as_str()), (1, ""), "{name}: {checked:?}");
        let told = checked.stdout.lines().any(|l| l.starts_with(&begins) && l.contains(says));
        assert!(told, "{name}: expected {begins:?}, {says:?}: {checked:?}");
        let mended = checked.stdout.lines().all(|line| line.contains("; "));
        assert!(mended, "{name}: a finding has no mend: {checked:?}");
    }

    fn defers_requests_and_leaves_mail_alone(&self) {
        let (site, name) = (self.site, self.name);
        let deferred = site.deliver(&message(self.good));
        assert_eq!((deferred.status, deferred.stdout.as_str()), (75, ""), "{name}: {deferred:?}");
        let begins = "deferred reason=configuration error=\"";
        assert!(deferred.stderr.starts_with(begins), "{name}: {deferred:?}");
        assert!(deferred.stderr.contains("config.toml:"), "{name}: {deferred:?}");
        assert_eq!(deferred.stderr.lines().count(), 1, "{name}: {deferred:?}");

        let expired = site.deliver(&message(self.expired));
        assert_eq!((expired.status, expired.stdout.as_str()), (1, ""), "{name}: {expired:?}");

        let ordinary = site.deliver(&message("Lunch at noon?\n"));
        let silent = (ordinary.status, ordinary.stdout.as_str(), ordinary.stderr.as_str());
        assert_eq!(silent, (1, "", ""), "{name}");
        self.has_done_nothing();
    }

    fn has_done_nothing(&self) {
        let (site, name) = (self.site, self.name);
        assert_eq!((site.marks(), site.answers().len()), (0, 0), "{name}");
        let spool = fs::read_dir(site.path("state/spool")).unwrap();
        let names: Vec<_> = spool.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["tmp"], "{name}: something was claimed");
    }
}

fn expired(site: &Site) -> String {
    site.sign(&["--issued-at", "2025-01-01T00:00:00Z"], &["mark"])
}

/// The number of the line that has `at`; of two such lines, the first.
fn line_of(text: &str, at: &str) -> Option<usize> {
    (!at.is_empty()).then(|| {
        let offset = text.find(at).unwrap_or_else(|| panic!("{at:?} is not in the configuration"));
        text[..offset].matches('\n').count() + 1
    })
}

fn each_is_refused(mistakes: &[Mistake]) {
    let site = Site::new();
    let (good, expired) = (site.sign(&[], &["mark"]), expired(&site));
    let fill = |text: &str| {
        text.replace("@ROOT@", &site.root().display().to_string())
            .replace("@ALICE@", site.read("alice.pub").trim())
    };
    for mistake in mistakes {
        let name = mistake.name;
        site.write("config.toml", &site.standard_config());
        site.configure(&fill(mistake.from), &fill(mistake.to));
        let line = line_of(&site.read("config.toml"), &fill(mistake.at));
        let spoiled = Spoiled { site: &site, name, good: &good, expired: &expired };
        spoiled.is_told(line, &fill(mistake.says));
        spoiled.defers_requests_and_leaves_mail_alone();
    }
    site.write("config.toml", &site.standard_config());
    let mended = site.deliver(&message(&good));
    assert_eq!((mended.status, site.marks()), (0, 1), "once it is mended: {mended:?}");
}

#[test]
fn a_general_mistake_is_told_with_its_line() {
    each_is_refused(GENERAL);
}

#[test]
fn a_mistake_about_answers_is_told_with_its_line() {
    each_is_refused(ANSWERS);
}

#[test]
fn a_mistake_about_a_key_is_told_with_its_line() {
    each_is_refused(KEYS);
}

#[test]
fn a_mistake_about_a_command_is_told_with_its_line() {
    each_is_refused(COMMANDS);
}

#[test]
#[cfg(not(feature = "smtp-tls"))]
fn a_server_under_tls_is_refused_by_a_build_without_it() {
    each_is_refused(&[mistake(
        "TLS",
        "\"file\"\n",
        "\"smtp\"\nsmtp = { host = \"mx.example.com\", tls = \"required\" }\n",
        "smtp = {",
        "this build has no TLS; build with --features smtp-tls, or use transport = \"sendmail\"",
    )]);
}

#[test]
fn all_mistakes_are_told_at_once_in_their_order() {
    let site = Site::new();
    site.configure("secret_file = \"pager\"", "secret_file = \"gone\"");
    site.configure("[\"/bin/echo\", \"{what}\"]", "[\"/bin/echo\"]");
    site.configure("groups = [\"web\"]", "groups = [\"web1\"]");
    let checked = site.tool(&["check"]);
    let config = site.read("config.toml");
    let begins = ["web1\"]\n", "secret_file", "[\"/bin/echo\""].map(|at| {
        let line = line_of(&config, at).unwrap();
        format!("error: {}:{line}: ", site.path("config.toml").display())
    });
    let lines: Vec<&str> = checked.stdout.lines().collect();
    assert_eq!((checked.status, lines.len()), (1, 3), "{checked:?}");
    for (line, begins) in lines.iter().zip(begins) {
        assert!(line.starts_with(&begins), "{line:?} does not begin with {begins:?}");
    }
}

#[test]
fn a_wrong_command_is_not_told_as_missing_too() {
    let site = Site::new();
    site.configure("[\"/bin/echo\", ", "[\"echo\", ");
    let checked = site.tool(&["check"]);
    let line = line_of(&site.read("config.toml"), "[\"echo\"").unwrap();
    let expected = format!(
        "error: {}:{line}: run of say does not start with an absolute path; write the program's absolute path\n",
        site.path("config.toml").display()
    );
    assert_eq!((checked.status, checked.stdout.as_str()), (1, expected.as_str()));
}

/// What spoils the files of a site: a name, the action, the line at fault, and what `check` says.
type Deed = (&'static str, fn(&Site), &'static str, &'static str);

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn secret(site: &Site, octets: &str) {
    site.write("pager", octets);
    mode(&site.path("pager"), 0o600);
}

fn each_deed_is_refused(deeds: &[Deed]) {
    for (name, deed, at, says) in deeds {
        let site = Site::new();
        let (good, expired) = (site.sign(&[], &["mark"]), expired(&site));
        let line = line_of(&site.read("config.toml"), at);
        deed(&site);
        let spoiled = Spoiled { site: &site, name, good: &good, expired: &expired };
        spoiled.is_told(line, &says.replace("@ROOT@", &site.root().display().to_string()));
        spoiled.defers_requests_and_leaves_mail_alone();
    }
}

#[test]
fn a_configuration_that_cannot_be_read_or_trusted_defers() {
    each_deed_is_refused(&[
        (
            "missing",
            |site| fs::remove_file(site.path("config.toml")).unwrap(),
            "",
            "there is no such file; run netsysrq-mail init",
        ),
        (
            "a directory",
            |site| {
                fs::remove_file(site.path("config.toml")).unwrap();
                fs::create_dir(site.path("config.toml")).unwrap();
            },
            "",
            "not a regular file; name a file",
        ),
        (
            "a FIFO, which nobody writes to",
            |site| {
                fs::remove_file(site.path("config.toml")).unwrap();
                let made = run(Command::new("mkfifo").arg(site.path("config.toml")), b"");
                assert_eq!(made.status, 0, "{made:?}");
            },
            "",
            "not a regular file; name a file",
        ),
        (
            "a link to nothing",
            |site| {
                fs::remove_file(site.path("config.toml")).unwrap();
                std::os::unix::fs::symlink("gone", site.path("config.toml")).unwrap();
            },
            "",
            "there is no such file; run netsysrq-mail init",
        ),
        (
            "not UTF-8",
            |site| fs::write(site.path("config.toml"), b"# \xff\n").unwrap(),
            "",
            "not UTF-8; write it in UTF-8",
        ),
        (
            "larger than any configuration",
            |site| {
                let comment = "# ".repeat(600 * 1024);
                site.write("config.toml", &(site.standard_config() + &comment));
            },
            "",
            "larger than 1 MiB; name the right file",
        ),
        ("empty", |site| site.write("config.toml", ""), "names", "missing field `names`"),
        (
            "everybody may write to it",
            |site| mode(&site.path("config.toml"), 0o646),
            "",
            "everybody may write to it; chmod o-w it",
        ),
        (
            "everybody may write to its directory",
            |site| mode(site.root(), 0o777),
            "",
            "@ROOT@: everybody may write to it; chmod o-w it",
        ),
        (
            "a link out of a directory that everybody may write to",
            |site| {
                fs::create_dir(site.path("open")).unwrap();
                fs::rename(site.path("config.toml"), site.path("open/config.toml")).unwrap();
                mode(&site.path("open"), 0o777);
                std::os::unix::fs::symlink("open/config.toml", site.path("config.toml")).unwrap();
            },
            "",
            "@ROOT@/open: everybody may write to it; chmod o-w it",
        ),
    ]);
}

#[test]
fn bad_secrets_and_host_keys_are_told_with_their_line() {
    each_deed_is_refused(&[
        (
            "a secret that others may read",
            |site| mode(&site.path("pager"), 0o644),
            "secret_file =",
            "@ROOT@/pager: a secret that others may read; chmod 600 it",
        ),
        (
            "a secret that its group may read",
            |site| mode(&site.path("pager"), 0o640),
            "secret_file =",
            "@ROOT@/pager: a secret that others may read; chmod 600 it",
        ),
        (
            "a secret that everybody may write to",
            |site| mode(&site.path("pager"), 0o602),
            "secret_file =",
            "@ROOT@/pager: everybody may write to it; chmod o-w it",
        ),
        (
            "a secret that is no base64",
            |site| secret(site, &format!("{}\n", "?".repeat(44))),
            "secret_file =",
            "@ROOT@/pager is not 32 octets or more in base64; make it with netsysrq-mail keygen --hmac",
        ),
        (
            "a secret of 31 octets",
            |site| secret(site, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==\n"),
            "secret_file =",
            "@ROOT@/pager is not 32 octets or more in base64",
        ),
        (
            "an empty secret",
            |site| secret(site, ""),
            "secret_file =",
            "@ROOT@/pager is not 32 octets or more in base64",
        ),
        (
            "a host key that others may read",
            |site| mode(&site.path("host"), 0o644),
            "signing_key =",
            "@ROOT@/host: a secret that others may read; chmod 600 it",
        ),
        (
            "a host key cut short",
            |site| {
                let text = site.read("host");
                fs::write(site.path("host"), &text[..text.len() / 2]).unwrap();
            },
            "signing_key =",
            "@ROOT@/host: not an OpenSSH Ed25519 key; make it with netsysrq-mail init",
        ),
    ]);
}

#[test]
fn what_another_user_owns_is_told_and_defers() {
    if !is_root() {
        return;
    }
    each_deed_is_refused(&[
        (
            "the configuration",
            |site| chown(site.path("config.toml"), Some(65534), None).unwrap(),
            "",
            "it belongs to nobody; run this as nobody, or chown it to root or to the user who runs this",
        ),
        (
            "the directory of the configuration",
            |site| chown(site.root(), Some(65534), None).unwrap(),
            "",
            "@ROOT@: it belongs to nobody; run this as nobody, or chown it to root or to the user who runs this",
        ),
        (
            "a group that may write to the configuration",
            |site| {
                chown(site.path("config.toml"), None, Some(65534)).unwrap();
                mode(&site.path("config.toml"), 0o664);
            },
            "",
            "its group may write to it; chmod g-w it",
        ),
        (
            "the secret",
            |site| chown(site.path("pager"), Some(65534), None).unwrap(),
            "secret_file =",
            "@ROOT@/pager: it belongs to nobody",
        ),
        (
            "the host key",
            |site| chown(site.path("host"), Some(65534), None).unwrap(),
            "signing_key =",
            "@ROOT@/host: it belongs to nobody",
        ),
    ]);
}

#[test]
fn an_unreadable_secret_is_told_with_its_line_and_defers() {
    if !is_root() {
        return;
    }
    for (file, at) in [("pager", "secret_file ="), ("host", "signing_key =")] {
        let site = Site::new();
        let good = site.sign(&[], &["mark"]);
        site.give_to_nobody();
        // owned by root, so that its owner is trusted and only its mode is wrong
        chown(site.path(file), Some(0), Some(0)).unwrap();
        let checked = site.as_nobody(&["check"], b"");
        let line = line_of(&site.read("config.toml"), at).unwrap();
        let expected = format!(
            "error: {}:{line}: {}: Permission denied (os error 13); make it readable\n",
            site.path("config.toml").display(),
            site.path(file).display(),
        );
        assert_eq!((checked.status, checked.stdout.as_str()), (1, expected.as_str()));
        let arguments = ["deliver", "--wait", "--verbose", "--profile", "mailbox"];
        let deferred = site.as_nobody(&arguments, message(&good).as_bytes());
        assert_eq!((deferred.status, site.marks()), (75, 0), "{deferred:?}");
        assert!(deferred.stderr.starts_with("deferred reason=configuration "), "{deferred:?}");
    }
}

#[test]
fn published_example_keys_are_refused_in_every_place() {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("keys");
    let published = |name: &str| {
        let path = keys.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let site = Site::new();
    let (good, expired) = (site.sign(&[], &["mark"]), expired(&site));
    let spoiled = Spoiled { site: &site, name: "published", good: &good, expired: &expired };
    let refused = |at: Option<&str>, says: &str| {
        let line = at.and_then(|at| line_of(&site.read("config.toml"), at));
        spoiled.is_told(line, says);
        spoiled.defers_requests_and_leaves_mail_alone();
        site.write("config.toml", &site.standard_config());
    };
    for name in ["example_ed25519.pub", "example_host_ed25519.pub"] {
        let line = published(name);
        let octets = line.split_whitespace().nth(1).unwrap();
        // the octets count, not the comment
        site.configure(site.read("alice.pub").trim(), &format!("ssh-ed25519 {octets} mine"));
        let says = "this is a published example key; make one with netsysrq-mail keygen";
        refused(Some("[key.alice]"), says);
    }
    secret(&site, &published("example.secret"));
    refused(Some("[key.pager]"), "this is a published example key");
    let made = run(
        Command::new(PROGRAM).args(["keygen", "--hmac", "fresh"]).current_dir(site.root()),
        b"",
    );
    assert_eq!(made.status, 0, "{made:?}");
    fs::rename(site.path("fresh"), site.path("pager")).unwrap();
    for name in ["example_ed25519", "example_host_ed25519"] {
        site.write(name, &published(name));
        mode(&site.path(name), 0o600);
        let root = site.root().display();
        site.configure(&format!("{root}/host\""), &format!("{root}/{name}\""));
        refused(None, "the host's signing_key is published; make a key of its own");
    }
}

#[test]
fn a_broken_configuration_is_the_same_to_every_mail_system() {
    let site = Site::new();
    let (good, expired) = (site.sign(&[], &["mark"]), expired(&site));
    site.configure("groups", "gruops");
    let table: [(&str, [i32; 3]); 3] =
        [("mailbox", [75, 1, 1]), ("mta", [75, 0, 0]), ("qmail", [111, 0, 0])];
    let mails = [message(&good), message(&expired), message("Lunch?\n")];
    for (profile, expected) in table {
        let statuses =
            mails.each_ref().map(|mail| site.deliver_as(profile, mail.as_bytes()).status);
        assert_eq!(statuses, expected, "{profile}");
    }
    let unnamed = mails.each_ref().map(|mail| site.tool_on(&["deliver"], mail.as_bytes()).status);
    assert_eq!(unnamed, [75, 75, 75], "no profile");
    assert_eq!((site.marks(), site.answers().len()), (0, 0));
}

#[test]
fn a_delivery_prints_nothing_about_a_broken_configuration() {
    let site = Site::new();
    let good = site.sign(&[], &["mark"]);
    site.configure("groups", "gruops");
    let deferred = site.tool_on(&["--profile", "mailbox"], message(&good).as_bytes());
    let silent = (deferred.status, deferred.stdout.as_str(), deferred.stderr.as_str());
    assert_eq!(silent, (75, "", ""));
}

#[test]
fn a_good_site_has_nothing_wrong() {
    let site = Site::new();
    let checked = site.tool(&["check"]);
    let config = site.path("config.toml").display().to_string();
    let expected = format!("note: {config}: nothing is wrong\n");
    assert_eq!((checked.status, checked.stdout), (0, expected));
    for arguments in [
        vec!["--config", &config, "check"],
        vec!["check", "--config", &config],
        vec!["--json", "--config", &config, "check"],
        vec!["check", "--json", "--config", &config],
    ] {
        let checked = run(Command::new(PROGRAM).args(&arguments), b"");
        assert_eq!((checked.status, checked.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(checked.stdout.contains("nothing is wrong"), "{arguments:?}: {checked:?}");
    }
}

#[test]
fn check_prints_json_one_finding_a_line() {
    let site = Site::new();
    let config = site.path("config.toml").display().to_string();
    let good = json_lines(&site.tool(&["check", "--json"]).stdout);
    assert_eq!(good.len(), 1);
    assert_eq!(good[0]["kind"], "note");

    site.configure("secret_file = \"pager\"", "secret_file = \"gone\"");
    site.configure("[\"/bin/echo\", \"{what}\"]", "[\"/bin/echo\"]");
    let checked = site.tool(&["--json", "check"]);
    let findings = json_lines(&checked.stdout);
    assert_eq!((checked.status, findings.len()), (1, 2), "{checked:?}");
    let text = site.read("config.toml");
    for (finding, at) in findings.iter().zip(["secret_file", "[\"/bin/echo\""]) {
        assert_eq!(finding["kind"], "error");
        assert_eq!(finding["file"], config.as_str());
        assert_eq!(finding["line"], line_of(&text, at).unwrap());
        assert!(!finding["what"].as_str().unwrap().is_empty(), "{finding}");
        assert!(!finding["mend"].as_str().unwrap().is_empty(), "{finding}");
    }
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn check_says_what_is_missing_beside_the_configuration() {
    let site = Site::without_spool();
    site.configure("[\"/bin/echo\", ", "[\"/bin/ehco\", ");
    site.configure("timeout = \"1s\"", "cwd = \"/nowhere\"");
    let checked = site.tool(&["check"]);
    assert_eq!(checked.status, 1, "{checked:?}");
    for says in [
        "run netsysrq-mail init",
        "[command.say] cannot be run: /bin/ehco: there is no such file",
        "cwd of [command.sleep], /nowhere, is not a directory; make it",
    ] {
        assert!(checked.stdout.contains(says), "{says:?}: {checked:?}");
    }
}

#[test]
fn check_notes_what_a_key_or_a_command_cannot_do() {
    let site = Site::new();
    site.configure("[key.pager]", "per_hour = 0\nnot_after = 2020-12-31T00:00:00Z\n[key.pager]");
    site.configure(
        "\"mark\"]\n\n[command",
        "\"mark\", \"reboot-safe\"]\nrevoked = true\n\n[command",
    );
    let config = site.read("config.toml");
    let sudo = "[command.off]\nrun = [\"/usr/bin/env\", \"-i\", \"/sbin/poweroff\"]";
    let sysrq = "[sysrq]\ntrigger = \"/nonexistent\"";
    site.write("config.toml", &format!("{config}\n{sudo}\n{sysrq}\n"));
    let checked = site.tool(&["check"]);
    assert_eq!(checked.status, 0, "{checked:?}");
    for says in [
        "[key.alice] may ask for nothing: per_hour = 0; ",
        "[key.alice] was good until 2020-12-31T00:00:00Z; ",
        "[key.pager] is revoked; ",
        "[key.pager] may press SysRq keys, which cannot be done here: /nonexistent: No such file",
        "[command.off] may end the machine before it is answered; set answer = \"before\"",
    ] {
        assert!(checked.stdout.contains(says), "{says:?}: {checked:?}");
    }
    fs::write(site.path("state/revoked/alice"), "").unwrap();
    let checked = site.tool(&["check"]).stdout;
    assert!(checked.contains("[key.alice] was revoked by a request; remove "), "{checked}");
}

/// The configuration of design and manual, adapted to name what is here.
const SAMPLE: &str = r#"
names  = ["web1", "web1.example.com"]    # what a request's audience may say; lower case
groups = ["web"]
state  = "/var/lib/netsysrq-mail"        # a user's default: ~/.local/state/netsysrq-mail
skew   = "5m"
history = "30d"
jobs   = 4

[answer]
from        = "netsysrq@web1.example.com"
transport   = "sendmail"                 # or "smtp" or "file"
signing_key = "/etc/netsysrq-mail/host_ed25519"        # OpenSSH private key of this host, made by init
# [answer.sendmail] path;  [answer.smtp] host, port, tls, user, password_file;  [answer.file] directory
# notify = ["root@example.com"]          # one line for each accepted or denied request

[key.alice]
public    = "ssh-ed25519 AAAA... alice@laptop"
answer_to = "alice@example.com"
allow     = ["ping", "help", "last", "revoke", "uptime", "restart", "reboot-safe"]
sysrq     = ["sub", "mtw"]
max_ttl   = "24h"
per_hour  = 60
not_before = 2025-01-01T00:00:00Z
not_after = 2036-12-31T00:00:00Z
revoked = false

[key.pager]
secret_file = "pager.secret"             # HMAC; relative to this file
answer_to   = "ops@example.com"
allow       = ["ping", "poweroff-safe"]

[command.uptime]
run = ["/usr/bin/uptime"]

[command.restart]
run     = ["/usr/bin/systemctl", "restart", "{unit}"]  # a placeholder is a whole word
timeout = "60s"
output_limit = "64KiB"
[command.restart.args]
unit = { one_of = ["nginx", "postgresql"] }

[command.all]
run = ["/bin/echo", "{n}", "{w}", "{h}", "{i}", "{t}"]
user = "root"
group = "root"
cwd = "/"
env = { TERM = "dumb" }
grace = "5s"
answer = "before"
max_age = "10m"
no_new_privileges = true
description = "says it all"
[command.all.args]
n = { type = "int", min = 1, max = 100 }
w = { type = "word", chars = "a-z0-9.-", max = 64 }
h = { type = "hostname" }
i = { type = "ip" }
t = { type = "text", max = 80 }

[sysrq]
trigger = "/proc/sysrq-trigger"
kmsg    = "/dev/kmsg"
wait    = "30s"                          # for each "complete" line
settle  = "10s"                          # between handing the answer over and the first key
"#;

/// Adapts a sample to a site, and expects `check` to find nothing wrong except programs that are not on this machine.
fn is_a_good_sample(sample: &str) {
    let site = Site::without_spool();
    fs::rename(site.path("pager"), site.path("pager.secret")).unwrap();
    let root = site.root().display().to_string();
    let adapt = |text: &str| {
        text.replace("/var/lib/netsysrq-mail", &format!("{root}/state"))
            .replace("/etc/netsysrq-mail/host_ed25519", &format!("{root}/host"))
            .replace("ssh-ed25519 AAAA... alice@laptop", site.read("alice.pub").trim())
            .replace("transport   = \"sendmail\" ", "transport   = \"file\" ")
    };
    let mut text = adapt(sample);
    if !text.contains("state ") {
        text = format!("state = \"{root}/state\"\n{text}");
    }
    if !text.contains("transport ") {
        text = text.replacen("[answer]\n", "[answer]\ntransport = \"file\"\n", 1);
    }
    text.push_str(&format!("\n[answer.file]\ndirectory = \"{root}/answers\"\n"));
    site.write("config.toml", &text);
    let made = site.tool(&["init"]);
    assert_eq!(made.status, 0, "{made:?}");

    let programs = ["/usr/bin/uptime", "/usr/bin/systemctl"];
    let absent = programs.iter().filter(|p| text.contains(**p) && !Path::new(p).exists()).count();
    let checked = site.tool(&["check"]);
    let errors: Vec<&str> =
        checked.stdout.lines().filter(|line| line.starts_with("error: ")).collect();
    let unrunnable = errors.iter().filter(|line| line.contains("] cannot be run: ")).count();
    // only root may run the command that is root's
    let foreign = usize::from(text.contains("user = \"root\"") && !is_root());
    assert_eq!((errors.len(), unrunnable), (absent + foreign, absent + foreign), "{checked:?}");
    assert_eq!(checked.status, i32::from(absent + foreign > 0), "{checked:?}");

    let pinged = site.deliver(&message(&site.sign(&[], &["ping"])));
    assert_eq!((pinged.status, site.answers().len()), (0, 1), "{pinged:?}");
}

#[test]
fn the_sample_configuration_is_good() {
    is_a_good_sample(SAMPLE);
}

#[test]
fn the_example_of_the_manual_is_good() {
    let manual = include_str!("../../docs/netsysrq-mail.toml.5");
    let examples = &manual[manual.find(".Sh EXAMPLES").unwrap()..];
    let (_, rest) = examples.split_once(".Bd -literal -offset indent\n").unwrap();
    let (example, _) = rest.split_once("\n.Ed").unwrap();
    is_a_good_sample(&example.replace("\\e", "\\").replace("\\(dq", "\""));
}
