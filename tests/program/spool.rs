//! The spool: a request is acted on once, whatever happens in between to the process, the configuration or the disk.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use netsysrq_mail::protocol::wire::crc::crc32;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{PROGRAM, Ran, Site, eventually, is_root, message, needed, run, waiting_for};

impl Site {
    /// The claims, by name.
    fn claims(&self) -> Vec<PathBuf> {
        let mut claims = Vec::new();
        for bucket in fs::read_dir(self.path("state/spool")).unwrap() {
            let bucket = bucket.unwrap();
            if bucket.file_name() != "tmp" {
                claims.extend(fs::read_dir(bucket.path()).unwrap().map(|e| e.unwrap().path()));
            }
        }
        claims.sort();
        claims
    }

    /// The only claim.
    fn claim(&self) -> PathBuf {
        let claims = self.claims();
        assert_eq!(claims.len(), 1, "{claims:?}");
        claims[0].clone()
    }

    /// The kinds of the records of the only claim, in order.
    fn records(&self) -> Vec<String> {
        let text = fs::read_to_string(self.claim()).unwrap();
        text.lines().map(|line| line.split(' ').nth(2).unwrap_or_default().to_owned()).collect()
    }

    /// Delivers a message under a profile and leaves the command to a runner of its own.
    fn deliver_detached(&self, profile: &str, message: &[u8]) -> Ran {
        self.tool_on(&["deliver", "--verbose", "--profile", profile], message)
    }

    /// Replaces `mark` by a command that runs `script` after it has left its mark.
    fn mark_then(&self, script: &str) {
        self.configure("; echo done\"", &format!("; {script}\""));
    }

    /// A request is deferred because of the spool, in words that include `says`, and nothing is done about it.
    fn defers(&self, request: &str, says: &str) {
        let deferred = self.deliver(&message(request));
        assert_eq!((deferred.status, deferred.stdout.as_str()), (75, ""), "{deferred:?}");
        let begins = "deferred reason=spool error=";
        assert!(deferred.stderr.starts_with(begins), "{deferred:?}");
        assert!(deferred.stderr.contains(says), "{says:?}: {deferred:?}");
        assert_eq!((self.marks(), self.answers().len()), (0, 0), "{deferred:?}");
    }

    fn mends_by_fencing(&self) {
        let fenced = self.tool(&["init", "--fence"]);
        assert_eq!(fenced.status, 0, "{fenced:?}");
        std::thread::sleep(Duration::from_millis(1100));
        let before = self.marks();
        let delivered = self.deliver(&message(&self.sign(&[], &["mark"])));
        assert_eq!((delivered.status, self.marks()), (0, before + 1), "{delivered:?}");
    }
}

/// A site that follows a signer's clock closely, so that a fence ends within a second.
fn site() -> Site {
    let site = Site::new();
    site.configure("[answer]\n", "skew = \"1s\"\n[answer]\n");
    site
}

// --- a spool that cannot be used

#[test]
fn a_spool_that_was_never_made_defers_and_init_mends_it() {
    let site = Site::without_spool();
    let request = site.sign(&[], &["mark"]);
    site.defers(&request, "run netsysrq-mail init");
    assert_eq!(site.tool(&["init"]).status, 0);
    assert_eq!((site.deliver(&message(&request)).status, site.marks()), (0, 1));
}

#[test]
fn a_spool_without_its_marker_defers_and_names_the_mend() {
    let site = site();
    fs::remove_file(site.path("state/marker")).unwrap();
    site.defers(&site.sign(&[], &["mark"]), "there is no spool here; run netsysrq-mail init");
}

#[test]
fn a_damaged_marker_defers_until_the_spool_is_fenced() {
    let site = site();
    let request = site.sign(&[], &["mark"]);
    let marker = site.path("state/marker");
    let good = fs::read(&marker).unwrap();
    let spoil = |octets: &[u8]| {
        // in place, so that the inode stays
        fs::write(&marker, octets).unwrap();
        site.defers(&request, "run netsysrq-mail init --fence");
    };
    for end in [0, 1, good.len() / 2, good.len() - 2] {
        spoil(&good[..end]);
    }
    for bit in (0..(good.len() - 1) * 8).step_by(61) {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        spoil(&flipped);
    }
    site.mends_by_fencing();
    let old = site.deliver(&message(&request));
    assert_eq!((old.status, site.marks()), (1, 1), "{old:?}");
    assert!(old.stderr.contains("refused reason=before-epoch"), "{old:?}");
}

#[test]
fn a_copied_spool_is_foreign_until_it_is_fenced() {
    let site = site();
    let request = site.sign(&[], &["mark"]);
    let copied =
        run(Command::new("cp").arg("-a").args([site.path("state"), site.path("restored")]), b"");
    assert_eq!(copied.status, 0, "{copied:?}");
    site.configure("/state\"", "/restored\"");
    site.defers(&request, "was copied or restored; run netsysrq-mail init --fence");
    site.mends_by_fencing();
}

#[test]
fn a_spool_of_another_user_defers_and_names_that_user() {
    if !is_root() {
        return;
    }
    let site = site();
    chown(site.path("state"), Some(65534), Some(65534)).unwrap();
    let request = site.sign(&[], &["mark"]);
    site.defers(&request, "use: runuser -u nobody -- netsysrq-mail");
    let checked = site.tool(&["check"]);
    assert_eq!(checked.status, 1, "{checked:?}");
    assert!(checked.stdout.contains("use: runuser -u nobody --"), "{checked:?}");
    let fenced = site.tool(&["init", "--fence"]);
    assert_eq!(fenced.status, 75, "root does not switch by itself: {fenced:?}");
    assert!(fenced.stderr.contains("use: runuser -u nobody --"), "{fenced:?}");
}

#[test]
fn a_spool_given_to_another_user_is_foreign_to_them() {
    if !is_root() {
        return;
    }
    let site = site();
    let request = message(&site.sign(&[], &["mark"]));
    site.give_to_nobody();
    let arguments = ["deliver", "--verbose", "--wait", "--profile", "mailbox"];
    let deferred = site.as_nobody(&arguments, request.as_bytes());
    assert_eq!((deferred.status, site.marks()), (75, 0), "{deferred:?}");
    let says = "made on another machine, by another user, or was copied or restored; run netsysrq-mail init --fence";
    assert!(deferred.stderr.contains(says), "{deferred:?}");
    assert_eq!(site.as_nobody(&["init", "--fence"], b"").status, 0);
}

#[test]
fn a_spool_that_others_may_enter_defers_and_names_the_mend() {
    let site = site();
    fs::set_permissions(site.path("state"), fs::Permissions::from_mode(0o750)).unwrap();
    site.defers(&site.sign(&[], &["mark"]), "is open to others; use: chmod 700 ");
}

#[test]
fn a_damaged_low_water_mark_defers_until_the_spool_is_fenced() {
    let site = site();
    site.write("state/low-water", "high\n");
    site.defers(&site.sign(&[], &["mark"]), "is damaged; run netsysrq-mail init --fence");
    site.mends_by_fencing();
}

/// It is made again, or requests are deferred.
#[test]
fn a_lost_part_of_the_spool_runs_nothing_twice() {
    for part in ["low-water", "seen", "rate", "slots", "spool/tmp", "reserve"] {
        let site = site();
        let lost = site.path("state").join(part);
        fs::remove_file(&lost).or_else(|_| fs::remove_dir_all(&lost)).unwrap();
        let request = message(&site.sign(&[], &["mark"]));
        let statuses = [(); 3].map(|()| site.deliver(&request).status);
        assert!(site.marks() <= 1, "{part}: {statuses:?}");
        let claimed = statuses.contains(&0);
        assert_eq!(claimed, site.claims().len() == 1 && statuses[0] != 75, "{part}: {statuses:?}");
        assert!(claimed || statuses[0] == 75, "{part}: {statuses:?}");
    }
}

#[test]
fn check_tells_what_a_restore_lost_and_init_mends_it() {
    let lose = |site: &Site, part: &str| {
        let lost = site.path("state").join(part);
        fs::remove_file(&lost).or_else(|_| fs::remove_dir_all(&lost)).unwrap();
    };
    let tells = |site: &Site, part: &str| {
        let checked = site.tool(&["check"]);
        let path = site.path("state").join(part).display().to_string();
        let finding = format!("error: {path}: No such file");
        assert!(checked.status == 1 && checked.stdout.contains(&finding), "{part}: {checked:?}");
    };
    for part in ["rate", "slots", "seen"] {
        let site = site();
        for mend in [&["init"][..], &["init", "--fence"]] {
            lose(&site, part);
            tells(&site, part);
            let made = site.tool(mend);
            assert_eq!(made.status, 0, "{part}: {made:?}");
            assert_eq!(site.tool(&["check"]).status, 0, "{part}: {made:?}");
        }
        // what tells which nonces are spent and which keys revoked is not silently made again
        for part in ["low-water", "spool", "spool/tmp", "revoked"] {
            lose(&site, part);
            tells(&site, part);
            let refused = site.tool(&["init"]);
            assert_eq!(refused.status, 75, "{part}: {refused:?}");
            let says = format!("its {part} is missing; run netsysrq-mail init --fence");
            assert!(refused.stderr.contains(&says), "{part}: {refused:?}");
            let fenced = site.tool(&["init", "--fence"]);
            assert_eq!(fenced.status, 0, "{part}");
            let is_told = fenced.stdout.contains("set revoked = true in their [key.X]");
            assert_eq!(is_told, part == "revoked", "{fenced:?}");
            assert_eq!(site.tool(&["check"]).status, 0, "{part}");
        }
        site.mends_by_fencing();
    }
}

/// Delivers, loses the spool's memory, fences it under a fault, and delivers again. Returns whether the fence failed.
fn fence_with(strace: &Path, fault: &str) -> bool {
    let site = Site::new();
    let mail = message(&site.sign(&[], &["mark"]));
    assert_eq!(site.deliver(&mail).status, 0);
    fs::remove_dir_all(site.path("state/spool")).unwrap();
    assert_eq!(site.deliver(&mail).status, 75);
    let mut fence = Command::new(strace);
    fence.args(["-f", "-qq", "-o", "/dev/null", fault]).arg(PROGRAM).arg("--config");
    let fenced = run(fence.arg(site.path("config.toml")).args(["init", "--fence"]), b"");
    let again = site.deliver(&mail);
    assert!([1, 75].contains(&again.status), "{fault}: {again:?}");
    assert_eq!(site.marks(), 1, "{fault}: it ran again");
    fenced.status != 0
}

#[test]
fn a_fence_that_fails_or_is_killed_lets_nothing_run_again() {
    let Some(strace) = needed("strace") else { return };
    let mut failed = 0;
    for call in ["mkdir", "rename,renameat,renameat2", "fsync", "pwrite64"] {
        for nth in 1..=3 {
            for how in ["error=ENOSPC", "signal=KILL"] {
                let fault = format!("--inject={call}:{how}:when={nth}");
                failed += usize::from(fence_with(&strace, &fault));
            }
        }
    }
    assert!(failed >= 12, "only {failed} of 24 faults were met");
}

#[test]
fn a_delivery_begun_before_a_fence_claims_nothing_after_it() {
    let Some(strace) = needed("strace") else { return };
    let site = Site::new();
    let mail = message(&site.sign(&[], &["mark"]));
    assert_eq!(site.deliver(&mail).status, 0);
    fs::remove_dir_all(site.path("state/spool")).unwrap();
    // it has read the old marker by the time it is held up before its claim
    let mut delivery = Command::new(strace);
    delivery.args(["-f", "-qq", "-o", "/dev/null", "--inject=fallocate:delay_enter=15s"]);
    delivery.arg(PROGRAM).arg("--config").arg(site.path("config.toml"));
    delivery.args(["deliver", "--wait", "--profile", "mailbox"]);
    std::thread::scope(|scope| {
        // as the fence will make it
        for part in ["state/spool", "state/spool/tmp"] {
            fs::DirBuilder::new().mode(0o700).create(site.path(part)).unwrap();
        }
        let delivered = scope.spawn(|| run(&mut delivery, mail.as_bytes()));
        let tmp = site.path("state/spool/tmp");
        eventually("it writes a claim", || fs::read_dir(&tmp).unwrap().next().is_some());
        assert_eq!(site.tool(&["init", "--fence"]).status, 0);
        let delivered = delivered.join().unwrap();
        assert_eq!(delivered.status, 1, "{delivered:?}");
    });
    assert_eq!(site.tool(&["resume", "--wait"]).status, 0);
    assert_eq!((site.marks(), site.answers().len()), (1, 1));
}

// --- disks

/// Runs a shell script with mounts of its own; `None`, said loudly, where that is not possible.
fn with_mounts(site: &Site, script: &str, stdin: &[u8]) -> Option<Ran> {
    if !is_root() {
        return None;
    }
    let mountable = run(
        Command::new("unshare")
            .args(["-m", "sh", "-c", "mount -t tmpfs -o size=64k none \"$1\"", "sh"])
            .arg(site.path("answers")),
        b"",
    );
    if mountable.status != 0 {
        eprintln!("SKIPPED: no mounts to be had: {mountable:?}");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-euc", script]).env("STATE", site.path("state"));
    command.env("PROGRAM", PROGRAM).env("CONFIG", site.path("config.toml"));
    Some(run(&mut command, stdin))
}

#[test]
fn a_read_only_spool_defers_and_is_left_as_it_was() {
    let site = site();
    let request = message(&site.sign(&[], &["mark"]));
    let before = tree(&site.path("state"));
    let script = r#"
        mount --bind "$STATE" "$STATE"
        mount -o remount,bind,ro "$STATE"
        exec "$PROGRAM" --config "$CONFIG" deliver --verbose --wait --profile mailbox
    "#;
    let Some(deferred) = with_mounts(&site, script, request.as_bytes()) else { return };
    assert_eq!((deferred.status, site.marks(), site.answers().len()), (75, 0, 0), "{deferred:?}");
    assert!(deferred.stderr.contains("/state/rate/alice: Read-only"), "{deferred:?}");
    assert_eq!(tree(&site.path("state")), before);
    assert_eq!((site.deliver(&request).status, site.marks()), (0, 1), "once it is writable");
}

/// Delivers twice on a full disk, after `setting` it up. Returns the claims found after each delivery.
fn on_a_full_disk(setting: &str) -> Option<(Site, Vec<String>)> {
    let site = Site::without_spool();
    let request = message(&site.sign(&[], &["mark"]));
    let script = format!(
        r#"
        mkdir -m 700 "$STATE"
        mount -t tmpfs -o size=512k,mode=700 none "$STATE"
        "$PROGRAM" --config "$CONFIG" init >/dev/null
        {setting}
        cat /dev/zero >"$STATE/fill" 2>/dev/null || :
        cat >"$CONFIG.mail"
        for n in 1 2; do
            status=0
            "$PROGRAM" --config "$CONFIG" deliver --verbose --wait --profile mailbox <"$CONFIG.mail" || status=$?
            echo "$status $(find "$STATE/spool" -name 'alice.*' -type f | wc -l)"
        done
        "#
    );
    let ran = with_mounts(&site, &script, request.as_bytes())?;
    assert_eq!(ran.status, 0, "{ran:?}");
    let lines = ran.stdout.lines().map(ToOwned::to_owned).collect();
    eprintln!("{}", ran.stderr);
    Some((site, lines))
}

/// It is never run without a claim, and never claimed without being run.
#[test]
fn on_a_full_disk_a_request_is_run_or_deferred() {
    let Some((site, lines)) = on_a_full_disk("") else { return };
    match lines[0].as_str() {
        "0 1" => {
            assert_eq!((lines[1].as_str(), site.marks(), site.answers().len()), ("1 1", 1, 1));
        }
        "75 0" => assert_eq!((lines[1].as_str(), site.marks()), ("75 0", 0)),
        other => panic!("neither claimed nor deferred: {other}"),
    }
}

#[test]
fn a_full_disk_without_a_reserve_defers_a_request() {
    let Some((site, lines)) = on_a_full_disk("rm -r \"$STATE/reserve\"") else { return };
    assert_eq!((lines[0].as_str(), lines[1].as_str()), ("75 0", "75 0"));
    assert_eq!((site.marks(), site.answers().len()), (0, 0));
}

// --- init

/// Every file and directory below `path` with mode, inode and octets.
fn tree(path: &Path) -> Vec<(PathBuf, u32, u64, Vec<u8>)> {
    let metadata = path.symlink_metadata().unwrap();
    let octets = if metadata.is_file() { fs::read(path).unwrap() } else { Vec::new() };
    let mut all = vec![(path.to_owned(), metadata.mode(), metadata.ino(), octets)];
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            all.extend(tree(&entry.unwrap().path()));
        }
    }
    all.sort();
    all
}

#[test]
fn init_again_changes_nothing_and_says_so() {
    let site = Site::new();
    let delivered = site.deliver(&message(&site.sign(&[], &["mark"])));
    assert_eq!(delivered.status, 0, "{delivered:?}");
    let before = tree(site.root());
    let again = site.tool(&["init"]);
    assert_eq!((again.status, again.stderr.as_str()), (1, ""), "{again:?}");
    let (first, stanza) = again.stdout.split_once('\n').unwrap();
    assert_eq!(first, "everything was there already; nothing was changed");
    assert!(stanza.contains("[host.\"web1\"]"), "{again:?}");
    assert!(tree(site.root()) == before, "init changed something");
}

#[test]
fn whatever_the_umask_all_files_are_for_their_owner_alone() {
    for umask in ["000", "022", "077"] {
        let site = Site::without_spool();
        let mut command = Command::new("sh");
        command.args(["-c", "umask \"$1\"; shift; exec \"$@\"", "sh", umask, PROGRAM, "--config"]);
        let made = run(command.arg(site.path("config.toml")).arg("init"), b"");
        assert_eq!(made.status, 0, "{made:?}");
        let mut command = Command::new("sh");
        command.args(["-c", "umask \"$1\"; shift; exec \"$@\"", "sh", umask, PROGRAM, "--config"]);
        command.arg(site.path("config.toml")).args(["deliver", "--wait", "--profile", "mta"]);
        let delivered = run(&mut command, message(&site.sign(&[], &["mark"])).as_bytes());
        assert_eq!((delivered.status, site.marks()), (0, 1), "{delivered:?}");
        for (path, mode, ..) in tree(&site.path("state")) {
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode & 0o7777, expected, "umask {umask}: {}", path.display());
        }
        for answer in fs::read_dir(site.path("answers")).unwrap() {
            let mode = answer.unwrap().metadata().unwrap().mode() & 0o7777;
            assert_eq!(mode, 0o600, "umask {umask}: an answer");
        }
    }
}

#[test]
fn a_fence_refuses_only_what_was_signed_before_it() {
    let site = site();
    site.configure("[key.pager]\n", "[key.pager]\nmax_ttl = \"30d\"\n");
    let ran = message(&site.sign(&[], &["mark"]));
    assert_eq!(site.deliver(&ran).status, 0);
    let unused = message(&site.sign(&[], &["mark"]));
    // a fence divides whole seconds
    std::thread::sleep(Duration::from_millis(1100));
    let history = fs::read(site.claim()).unwrap();
    let fenced = site.tool(&["init", "--fence"]);
    assert_eq!((fenced.status, fenced.stderr.as_str()), (0, ""), "{fenced:?}");
    assert!(fenced.stdout.contains("requests signed before "), "{fenced:?}");
    assert!(
        fenced.stdout.contains("what [key.pager] signed up to 30days ahead is void"),
        "{fenced:?}"
    );
    assert!(!fenced.stdout.contains("[key.alice]"), "alice signs for hours: {fenced:?}");
    assert_eq!(fs::read(site.claim()).unwrap(), history, "the history stays");

    for mail in [&ran, &unused] {
        let refused = site.deliver(mail);
        assert_eq!((refused.status, site.marks()), (1, 1), "{refused:?}");
        assert!(refused.stderr.contains("refused reason=before-epoch"), "{refused:?}");
    }
    std::thread::sleep(Duration::from_millis(1100));
    let new = site.deliver(&message(&site.sign(&[], &["mark"])));
    assert_eq!((new.status, site.marks()), (0, 2), "{new:?}");
}

#[test]
fn a_fence_refuses_what_a_fast_clock_signed_before_it() {
    let site = Site::new();
    // signed by a clock that is two minutes ahead, within the skew of five
    let ahead = run(Command::new("date").args(["-u", "-d", "+2 min", "+%Y-%m-%dT%H:%M:%SZ"]), b"");
    let request = message(&site.sign(&["--issued-at", ahead.stdout.trim()], &["mark"]));
    assert_eq!((site.deliver(&request).status, site.marks()), (0, 1));
    // the spool is lost, restored from before, and fenced
    fs::remove_file(site.claim()).unwrap();
    assert_eq!(site.tool(&["init", "--fence"]).status, 0);
    let again = site.deliver(&request);
    assert_eq!((again.status, site.marks()), (1, 1), "it was run before: {again:?}");
}

// --- once

#[test]
fn a_claimed_request_is_never_run_again_whatever_is_configured_later() {
    let site = Site::new();
    let request = message(&site.sign(&[], &["mark"]));
    assert_eq!(site.deliver(&request).status, 0);
    let good = site.read("config.toml");
    for (name, from, to) in [
        ("a larger skew", "[answer]\n", "skew = \"10h\"\n[answer]\n"),
        ("no skew", "[answer]\n", "skew = \"0s\"\n[answer]\n"),
        ("a larger max_ttl", "[key.pager]", "max_ttl = \"9000h\"\n[key.pager]"),
        ("a smaller max_ttl", "[key.pager]", "max_ttl = \"1s\"\n[key.pager]"),
        ("another first name", "\"web1\", \"web1.example.com\"", "\"web9\", \"web1\""),
        ("the name a group", "groups = [\"web\"]", "groups = [\"web2\"]"),
        ("other names", "\"web1\", \"web1.example.com\"", "\"web9\""),
        ("no history", "[answer]\n", "history = \"0s\"\n[answer]\n"),
        ("a revoked key", "[key.pager]", "revoked = true\n[key.pager]"),
        ("nothing allowed", "allow     = [\"ping\", ", "allow     = [\"help\"] # "),
        ("another command", "; echo done", "; echo other"),
    ] {
        site.write("config.toml", &good);
        site.configure(from, to);
        let again = site.deliver(&request);
        let done = (again.status, site.marks(), site.answers().len(), site.claims().len());
        assert_eq!(done, (1, 1, 1, 1), "{name}: {again:?}");
    }
    site.write("config.toml", &good);
    for zone in ["Pacific/Kiritimati", "America/Adak", "UTC0", "nonsense", "X-167:59:59"] {
        let mut command = site.program();
        command.args(["deliver", "--wait", "--profile", "mailbox"]).env("TZ", zone);
        let again = run(&mut command, request.as_bytes());
        let done = (again.status, site.marks(), site.answers().len());
        assert_eq!(done, (1, 1, 1), "{zone}: {again:?}");
    }
}

#[test]
fn the_time_zone_changes_nothing_in_a_claim() {
    let site = Site::new();
    let request = message(&site.sign(&[], &["mark"]));
    let mut command = site.program();
    command.args(["deliver", "--wait", "--profile", "mta"]).env("TZ", "Pacific/Kiritimati");
    assert_eq!(run(&mut command, request.as_bytes()).status, 0);
    assert_eq!((site.deliver(&request).status, site.marks()), (1, 1));
}

/// Starts `count` deliveries, gives each the whole message at once, and says how often each status was.
fn all_at_once(site: &Site, count: usize, arguments: &[&str], mail: &str) -> Vec<(i32, usize)> {
    let mut children: Vec<Child> = (0..count)
        .map(|_| {
            let mut command = site.program();
            command.arg("deliver").args(arguments);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    let inputs: Vec<_> = children.iter_mut().map(|child| child.stdin.take().unwrap()).collect();
    for mut input in inputs {
        input.write_all(mail.as_bytes()).unwrap();
    }
    let statuses: Vec<i32> =
        children.iter_mut().map(|child| child.wait().unwrap().code().unwrap_or(-1)).collect();
    let each: BTreeSet<i32> = statuses.iter().copied().collect();
    each.into_iter().map(|s| (s, statuses.iter().filter(|t| **t == s).count())).collect()
}

/// One run and one answer come of fifty deliveries, whose statuses are `expected`.
fn fifty_are_one(arguments: &[&str], expected: &[(i32, usize)]) {
    let site = Site::new();
    let mail = message(&site.sign(&[], &["mark"]));
    assert_eq!(all_at_once(&site, 50, arguments, &mail), expected);
    eventually("the answer", || site.records().last().is_some_and(|r| r == "answered"));
    // a second one would be on its way by now
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!((site.marks(), site.answers().len()), (1, 1));
    assert_eq!(site.records(), ["claimed", "running", "finished", "answered"]);
    let left = fs::read_dir(site.path("state/spool/tmp")).unwrap().count();
    assert_eq!(left, 0, "something was left in spool/tmp");
}

#[test]
fn fifty_deliveries_to_an_address_run_one_request_once() {
    fifty_are_one(&["--profile", "mta"], &[(0, 50)]);
}

#[test]
fn fifty_deliveries_to_a_mailbox_run_one_request_once() {
    fifty_are_one(&["--profile", "mailbox"], &[(0, 1), (1, 49)]);
}

#[test]
fn fifty_waiting_deliveries_to_an_address_run_one_request_once() {
    fifty_are_one(&["--profile", "mta", "--wait"], &[(0, 50)]);
}

#[test]
fn fifty_waiting_deliveries_to_a_mailbox_run_one_request_once() {
    fifty_are_one(&["--profile", "mailbox", "--wait"], &[(0, 1), (1, 49)]);
}

#[test]
fn a_delivery_returns_before_its_command_has_ended() {
    let site = Site::new();
    let go = site.path("go");
    site.mark_then(&format!("{}; echo done", waiting_for(&go)));
    let delivered =
        site.deliver_detached("mailbox", message(&site.sign(&[], &["mark"])).as_bytes());
    // a command that is waited for would have been stopped at its time limit, and answered
    assert_eq!((delivered.status, site.answers().len()), (0, 0), "{delivered:?}");
    eventually("the command starts", || site.marks() == 1);
    assert_eq!(site.records(), ["claimed", "running"]);
    let claim = site.claim();
    let mode = |path: &Path| path.symlink_metadata().unwrap().mode() & 0o7777;
    let bucket = claim.parent().unwrap();
    assert_eq!((mode(&claim), mode(bucket)), (0o600, 0o700));
    assert_eq!((mode(bucket.parent().unwrap()), mode(&site.path("state"))), (0o700, 0o700));

    File::create(go).unwrap();
    eventually("the answer", || site.answers().len() == 1);
    eventually("its record", || site.records().len() == 4);
    assert_eq!(site.records(), ["claimed", "running", "finished", "answered"]);
}

#[test]
fn a_running_job_keeps_room_for_its_later_records() {
    let site = Site::new();
    let go = site.path("go");
    site.mark_then(&waiting_for(&go));
    let mail = message(&site.sign(&[], &["mark"]));
    assert_eq!(site.deliver_detached("mta", mail.as_bytes()).status, 0);
    eventually("the command starts", || site.marks() == 1);
    let job = site.claim().metadata().unwrap();
    assert!(job.blocks() * 512 >= job.len() + 3900, "{} of {}", job.len(), job.blocks() * 512);
    File::create(go).unwrap();
    eventually("its record", || site.records().len() == 4);
}

#[test]
fn a_claim_is_named_by_signed_octets_alone() {
    let site = Site::new();
    let signed = site.tool(&["--json"]);
    assert_ne!(signed.status, 0, "a flag is no verb");
    let mut command = Command::new(PROGRAM);
    command.args(["--json", "sign", "--key-id", "alice", "--key"]).arg(site.path("alice"));
    let signed = run(command.args(["web1", "mark"]), b"");
    let request: serde_json::Value = serde_json::from_str(&signed.stdout).unwrap();
    let delivered = site.deliver(&message(request["frame"].as_str().unwrap()));
    assert_eq!(delivered.status, 0, "{delivered:?}");
    let hour = request["exp"].as_u64().unwrap() / 3600;
    let name = format!("state/spool/{hour}/alice.{}", request["cti"].as_str().unwrap());
    assert_eq!(site.claim(), site.path(&name));
}

/// `jobs` says how many commands run at once.
#[test]
fn commands_wait_for_a_free_slot_and_pings_do_not() {
    let site = Site::new();
    site.configure("[answer]\n", "jobs = 2\n[answer]\n");
    let (log, go) = (site.path("log"), site.path("go"));
    let (log, wait) = (log.display(), waiting_for(&go));
    site.mark_then(&format!("echo + >>{log}; {wait}; echo - >>{log}"));
    for _ in 0..5 {
        let request = site.sign(&[], &["mark"]);
        assert_eq!(site.deliver_detached("mta", message(&request).as_bytes()).status, 0);
    }
    eventually("two commands run", || site.read("log").lines().count() == 2);
    let pinged = site.deliver_detached("mta", message(&site.sign(&[], &["ping"])).as_bytes());
    assert_eq!(pinged.status, 0);
    eventually("the ping is answered", || site.answers().len() == 1);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(site.read("log"), "+\n+\n", "a third command was started");
    File::create(&go).unwrap();
    eventually("all are answered", || site.answers().len() == 6);
    let mut running = 0;
    for line in site.read("log").lines() {
        running += if line == "+" { 1 } else { -1 };
        assert!((0..=2).contains(&running), "{}", site.read("log"));
    }
    assert_eq!((running, site.marks()), (0, 5));
}

#[test]
fn a_key_over_its_allowance_is_told_once_an_hour() {
    let site = Site::new();
    site.configure("[key.pager]", "per_hour = 2\n\n[key.pager]");
    let logs = [(); 4].map(|()| {
        let delivered = site.deliver(&message(&site.sign(&[], &["mark"])));
        assert_eq!(delivered.status, 0, "{delivered:?}");
        delivered.stderr
    });
    assert!(logs[0].starts_with("accepted ") && logs[1].starts_with("accepted "), "{logs:?}");
    for log in &logs[2..] {
        assert!(log.starts_with("refused reason=too-many verdict=too-many key=alice "), "{logs:?}");
    }
    assert!(logs[2].contains("\nanswered ") && logs[3].contains("\nsilent "), "{logs:?}");
    assert_eq!((site.marks(), site.claims().len(), site.answers().len()), (2, 4, 3));
    let said = site.answers().concat().matches("this key has asked too often").count();
    assert!(said >= 1, "nobody was told");
    // another key has an allowance of its own
    let pager = site.sign_as("pager", &[], "web1", &["mark"]);
    assert_eq!((site.deliver(&message(&pager)).status, site.marks()), (0, 3));
}

#[test]
fn a_replay_takes_nothing_from_the_allowance_of_its_key() {
    let site = Site::new();
    site.configure("[key.pager]", "per_hour = 2\n\n[key.pager]");
    let old = message(&site.sign(&[], &["mark"]));
    assert_eq!(site.deliver(&old).status, 0);
    for _ in 0..5 {
        let again = site.deliver(&old);
        assert!(again.stderr.starts_with("refused reason=replayed "), "{again:?}");
    }
    let new = site.deliver(&message(&site.sign(&[], &["mark"])));
    assert!(new.stderr.starts_with("accepted "), "{new:?}");
    assert_eq!((site.marks(), site.answers().len()), (2, 2));
}

// --- crash

/// Kills a process that this test started.
fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

/// Kills an inline delivery while its command runs, and lets the command end.
fn killed_while_running(site: &Site, mail: &str) {
    let go = site.path("go");
    site.mark_then(&waiting_for(&go));
    let mut delivery = site
        .program()
        .args(["deliver", "--wait", "--profile", "mta"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    delivery.stdin.take().unwrap().write_all(mail.as_bytes()).unwrap();
    eventually("the command runs", || site.marks() == 1);
    kill(delivery.id());
    delivery.wait().unwrap();
    File::create(go).unwrap();
    assert_eq!(site.records(), ["claimed", "running"]);
}

#[test]
fn a_job_killed_while_running_is_answered_once_as_unknown() {
    let site = Site::new();
    let mail = message(&site.sign(&[], &["mark"]));
    killed_while_running(&site, &mail);
    for _ in 0..3 {
        let again = site.deliver(&mail);
        assert_eq!((again.status, site.marks(), site.answers().len()), (1, 1, 1), "{again:?}");
    }
    assert_eq!(site.records(), ["claimed", "running", "finished", "answered"]);
    assert!(site.answers()[0].contains("started, outcome unknown"), "{}", site.answers()[0]);
}

#[test]
fn a_second_mail_resumes_the_job_of_a_killed_runner() {
    let site = Site::new();
    let mail = message(&site.sign(&[], &["mark"]));
    let go = site.path("go");
    site.mark_then(&waiting_for(&go));
    assert_eq!(site.deliver_detached("mta", mail.as_bytes()).status, 0);
    eventually("the command runs", || site.marks() == 1);
    kill(runner_of(&site));
    File::create(go).unwrap();
    eventually("the lock is free", || File::open(site.claim()).unwrap().try_lock().is_ok());
    let statuses = all_at_once(&site, 10, &["--profile", "mailbox"], &mail);
    assert_eq!(statuses, [(1, 10)]);
    eventually("the answer", || site.records().last().is_some_and(|r| r == "answered"));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!((site.marks(), site.answers().len()), (1, 1));
    assert!(site.answers()[0].contains("started, outcome unknown"));
}

/// The process that carries a site's only job: it has the site's directory in its command line.
fn runner_of(site: &Site) -> u32 {
    let config = site.path("config.toml").display().to_string();
    let runners: Vec<u32> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains(&config) && line.contains("\0resume\0")
        })
        .collect();
    assert_eq!(runners.len(), 1, "{runners:?}");
    runners[0]
}

/// Claims a request and cannot start it: the program's file is made unrunnable while it runs.
fn claimed_and_not_started(site: &Site, mail: &str) {
    let copy = site.path("program");
    if !copy.exists() {
        site.copy_program();
    }
    let mut command = Command::new(&copy);
    command.arg("--config").arg(site.path("config.toml"));
    command.args(["deliver", "--verbose", "--profile", "mta"]);
    let mut delivery = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = delivery.stdin.take().unwrap();
    // it reads, so it has started
    input.write_all(&mail.as_bytes()[..1]).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
    input.write_all(&mail.as_bytes()[1..]).unwrap();
    drop(input);
    let delivered = delivery.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&delivered.stderr);
    assert_eq!(delivered.status.code(), Some(0), "a claim is a claim: {log}");
    assert!(log.contains("\nnot-started job="), "{log}");
    assert_eq!((site.records(), site.marks()), (vec!["claimed".to_owned()], 0));
}

#[test]
fn a_second_mail_runs_a_claimed_job_that_never_started() {
    let site = Site::new();
    let mail = message(&site.sign(&[], &["mark"]));
    claimed_and_not_started(&site, &mail);
    for _ in 0..3 {
        let again = site.deliver(&mail);
        assert_eq!((again.status, site.marks(), site.answers().len()), (1, 1, 1), "{again:?}");
    }
    assert_eq!(site.records(), ["claimed", "running", "finished", "answered"]);
}

#[test]
fn an_unstarted_job_is_judged_again_when_it_is_resumed() {
    for (name, from, to, says) in [
        ("revoked", "[key.pager]", "revoked = true\n[key.pager]", "this key is revoked"),
        ("not allowed", "\"help\", \"mark\"", "\"help\"", "this key may not do that here"),
        (
            "not there",
            "[\"/bin/sh\", \"-c\", \"echo ran",
            "[\"/bin/hs\", \"-c\", \"echo ran",
            "/bin/hs",
        ),
    ] {
        let site = Site::new();
        let mail = message(&site.sign(&[], &["mark"]));
        claimed_and_not_started(&site, &mail);
        site.configure(from, to);
        let again = site.deliver(&mail);
        assert_eq!(
            (again.status, site.marks(), site.answers().len()),
            (1, 0, 1),
            "{name}: {again:?}"
        );
        assert!(site.answers()[0].contains(says), "{name}: {}", site.answers()[0]);
    }
}

#[test]
fn an_unstarted_job_that_has_expired_is_only_answered() {
    let site = Site::new();
    // before its time begins
    site.copy_program();
    let mail = message(&site.sign(&["--ttl", "10s"], &["mark"]));
    claimed_and_not_started(&site, &mail);
    std::thread::sleep(Duration::from_millis(10_100));
    let again = site.deliver(&mail);
    assert_eq!((again.status, site.marks(), site.answers().len()), (1, 0, 1), "{again:?}");
    assert!(site.answers()[0].contains("expired"), "{}", site.answers()[0]);
}

#[test]
fn an_unstarted_job_of_another_boot_is_answered_and_not_run() {
    let site = Site::new();
    let mail = message(&site.sign(&[], &["mark"]));
    claimed_and_not_started(&site, &mail);
    let record = fs::read_to_string(site.claim()).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let text = record.trim_end().splitn(3, ' ').nth(2).unwrap();
    let text = text.replace(boot.trim(), "00000000-0000-0000-0000-000000000000");
    let counted = format!("{} {text}", text.len());
    fs::write(site.claim(), format!("{:08x} {counted}\n", crc32(counted.as_bytes()))).unwrap();
    for _ in 0..2 {
        let again = site.deliver(&mail);
        assert_eq!((again.status, site.marks(), site.answers().len()), (1, 0, 1), "{again:?}");
    }
    assert!(site.answers()[0].contains("not started: accepted at "), "{}", site.answers()[0]);
    assert!(site.answers()[0].contains("send a new request"), "{}", site.answers()[0]);
}

#[test]
fn an_accepted_job_is_answered_though_the_machine_was_renamed_meanwhile() {
    let site = Site::new();
    let mail = message(&site.sign(&[], &["mark"]));
    killed_while_running(&site, &mail);
    let job = site.claim();
    let names = ["parent", "file"].map(|part| {
        let path = if part == "parent" { job.parent().unwrap() } else { &job };
        path.file_name().unwrap().to_str().unwrap().to_owned()
    });
    site.configure("\"web1\", \"web1.example.com\"", "\"web9\"");
    let mut command = site.program();
    command
        .args(["resume", "--only", &names.join("/")])
        .stdin(File::options().read(true).write(true).open(&job).unwrap());
    let resumed = command.output().unwrap();
    assert_eq!((resumed.status.code(), site.answers().len()), (Some(0), 1), "{resumed:?}");
}

#[test]
fn a_job_that_is_damaged_stays_spent() {
    let site = Site::new();
    let mail = message(&site.sign(&[], &["mark"]));
    claimed_and_not_started(&site, &mail);
    let good = fs::read(site.claim()).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for octets in [&flipped[..], &good[..good.len() / 2], b"", b"\n"] {
        fs::write(site.claim(), octets).unwrap();
        let again = site.deliver(&mail);
        assert_eq!((again.status, site.marks(), site.claims().len()), (1, 0, 1), "{again:?}");
    }
}

#[test]
fn a_second_mail_hands_over_an_answer_nobody_took() {
    let site = Site::new();
    let mail = message(&site.sign(&[], &["mark"]));
    let (answers, aside) = (site.path("answers"), site.path("aside"));
    // removed once the configuration was read
    site.mark_then(&format!("mv {} {}", answers.display(), aside.display()));
    let unanswered = site.deliver(&mail);
    assert_eq!((unanswered.status, site.marks()), (0, 1), "{unanswered:?}");
    assert!(unanswered.stderr.contains("\nunanswered job="), "{unanswered:?}");
    assert_eq!(site.records(), ["claimed", "running", "finished", "tried"]);
    fs::rename(aside, answers).unwrap();
    for _ in 0..2 {
        let again = site.deliver(&mail);
        assert_eq!((again.status, site.marks(), site.answers().len()), (1, 1, 1), "{again:?}");
    }
    assert!(site.answers()[0].contains("exit status 0"), "{}", site.answers()[0]);
}

// --- the order of effects

/// What strace saw: one system call per line, with paths beside descriptors; of all processes, in the order they ran.
fn traced(site: &Site, mail: &str, arguments: &[&str]) -> Option<Vec<String>> {
    let strace = needed("strace")?;
    let trace = site.path("trace");
    let mut command = Command::new(strace);
    command.args(["-f", "-y", "-s", "200", "-e", "signal=none"]);
    command.args(["-e", "trace=execve,fsync,fdatasync,link,linkat,rename,renameat,renameat2"]);
    command.arg("-o").arg(&trace).arg(PROGRAM).arg("--config").arg(site.path("config.toml"));
    let ran = run(command.arg("deliver").args(arguments), mail.as_bytes());
    if ran.status != 0 && fs::metadata(&trace).map_or(0, |trace| trace.len()) == 0 {
        eprintln!("SKIPPED: nothing can be traced here: {ran:?}");
        return None;
    }
    assert_eq!(ran.status, 0, "{ran:?}");
    Some(fs::read_to_string(trace).unwrap().lines().map(ToOwned::to_owned).collect())
}

/// The number of the first line, from `from` on, that has all of `parts`.
fn position(trace: &[String], from: usize, parts: &[&str]) -> usize {
    let found = trace[from..].iter().position(|line| parts.iter().all(|part| line.contains(part)));
    found.unwrap_or_else(|| panic!("no {parts:?} from line {from} on in {trace:#?}")) + from
}

#[test]
fn claim_and_start_are_synced_before_the_command_is_executed() {
    for arguments in [&["--wait", "--profile", "mta"][..], &["--profile", "mta"]] {
        let site = Site::new();
        let mail = message(&site.sign(&[], &["mark"]));
        let Some(trace) = traced(&site, &mail, arguments) else { return };
        let claim = site.claim();
        let file = format!("<{}>", claim.display());
        let bucket = format!("<{}>", claim.parent().unwrap().display());
        let spool = format!("<{}>", site.path("state/spool").display());
        let temporary = format!("<{}/", site.path("state/spool/tmp").display());
        let name = claim.file_name().unwrap().to_str().unwrap();

        let written = position(&trace, 0, &["fsync(", &temporary]);
        let named = trace[written..]
            .iter()
            .position(|line| {
                (line.contains("link") || line.contains("rename")) && line.contains(name)
            })
            .unwrap_or_else(|| panic!("no name: {trace:#?}"))
            + written;
        let synced = position(&trace, named, &["fsync(", &file]);
        let in_bucket = position(&trace, synced, &["fsync(", &bucket]);
        let in_spool = position(&trace, in_bucket, &["fsync(", &spool]);
        let running = position(&trace, in_spool, &["fdatasync(", &file]);
        let executed =
            position(&trace, 0, &["execve(\"/bin/sh\", [\"/bin/sh\", \"-c\", \"echo ran"]);
        assert!(in_spool < running && running < executed, "{trace:#?}");
        let started = position(&trace, 1, &["execve(\"/proc/self/exe\""]);
        assert!(
            in_spool < started,
            "a process was started before the claim was durable: {trace:#?}"
        );
        let finished = position(&trace, executed, &["fdatasync(", &file]);
        let answer = format!("{}/", site.path("answers").display());
        let answered = position(&trace, finished, &["rename", &answer]);
        let kept = position(&trace, answered, &["fsync(", &answer[..answer.len() - 1]]);
        position(&trace, kept, &["fdatasync(", &file]);
        let runs = trace.iter().filter(|line| line.contains("execve(\"/bin/sh\", ")).count();
        assert_eq!((runs, site.marks(), site.answers().len()), (1, 1, 1));
    }
}

#[test]
fn a_replay_is_synced_before_anything_is_concluded_from_it() {
    let site = Site::new();
    let mail = message(&site.sign(&[], &["mark"]));
    assert_eq!(site.deliver(&mail).status, 0);
    let Some(trace) = traced(&site, &mail, &["--wait", "--profile", "mta"]) else { return };
    let claim = site.claim();
    let file = position(&trace, 0, &["fsync(", &format!("<{}>", claim.display())]);
    let bucket = format!("<{}>", claim.parent().unwrap().display());
    let bucket = position(&trace, file, &["fsync(", &bucket]);
    position(&trace, bucket, &["fsync(", &format!("<{}>", site.path("state/spool").display())]);
    assert_eq!(site.marks(), 1);
}

#[test]
fn an_ordinary_mail_opens_neither_configuration_nor_spool() {
    let Some(strace) = needed("strace") else { return };
    let site = Site::new();
    let trace = site.path("trace");
    let mut command = Command::new(strace);
    command.args(["-f", "-e", "trace=file,socket", "-o"]).arg(&trace).arg(PROGRAM);
    command.arg("--config").arg(site.path("config.toml")).args(["--profile", "mailbox"]);
    let ran = run(&mut command, message("Lunch at noon?\n").as_bytes());
    let text = fs::read_to_string(trace).unwrap_or_default();
    if text.is_empty() {
        eprintln!("SKIPPED: nothing can be traced here: {ran:?}");
        return;
    }
    assert_eq!(ran.status, 1, "{ran:?}");
    let touched = |line: &&str| {
        !line.contains("execve(") && (line.contains("netsysrq-test-") || line.contains("socket("))
    };
    let touched: Vec<&str> = text.lines().filter(touched).collect();
    assert!(touched.is_empty(), "{touched:#?}");
}

#[test]
fn unnamed_claims_of_killed_deliveries_go_after_a_day() {
    let site = Site::new();
    for (name, age) in [("old", "2 days ago"), ("new", "1 hour ago"), ("held", "2 days ago")] {
        let path = site.path("state/spool/tmp").join(name);
        fs::write(&path, "claimed").unwrap();
        let touched = run(Command::new("touch").args(["-d", age]).arg(path), b"");
        assert_eq!(touched.status, 0, "{touched:?}");
    }
    let held = File::options().write(true).open(site.path("state/spool/tmp/held")).unwrap();
    held.lock().unwrap();
    assert_eq!(site.tool(&["resume"]).status, 0);
    let mut left: Vec<_> = fs::read_dir(site.path("state/spool/tmp"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["held", "new"]);
}
