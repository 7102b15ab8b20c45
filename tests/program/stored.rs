//! What earlier versions wrote is still read: `tests/fixtures/stored` has their files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use netsysrq_mail::protocol::wire::crc::crc32;
use rustix::process::geteuid;

use crate::support::Site;

/// Each job that was left unfinished, and how it ends.
const UNFINISHED: [(&str, &str); 8] = [
    ("162ce668b46a445343d39e5b3a0982ba", "not-started"),
    ("d21fff5cd0937990371a3ae6a8c07215", "not-started"),
    ("7201395c2f7781c7227ab873dab4185b", "not-started"),
    ("14beaccde17bc4bc83c86de1998ca4ab", "unknown"),
    ("7e40969e1bfc612a91ae64b82aa0ae66", "back"),
    ("0aadbdc820e502650bc2cf24e063d460", "exit:0"),
    ("417e8cad5a75567e061a31f67b9f45f7", "not-run"),
    ("e0e94d80c2b76d1c3e2357a9b569b4c8", "exit:0"),
];

/// Each job that was over, its verdict and its end.
const OVER: [(&str, &str, &str); 6] = [
    ("02de0741b869776b6b711ad36fe5d834", "run", "exit:0"),
    ("eea7c305c1d0cf05e1d76e848d10d3fd", "run", "dry-run"),
    ("edda50426e492061b07d54ddceee49e7", "run", "done"),
    ("1a173dff4293c9344f8b32a8a386ab69", "run", "done"),
    ("4c8827bfe827267f6a8450069418aba4", "too-many", "not-run"),
    ("928bfb3fbb817f407f5e808cb2ab30c1", "too-many", "not-run"),
];

fn stored(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stored").join(name)
}

/// A site with the stored files, its marker made this machine's.
fn site() -> Site {
    let site = Site::without_spool();
    for name in ["config.toml", "alice", "alice.pub", "pager", "host_ed25519"] {
        let text = fs::read_to_string(stored(name)).unwrap();
        site.write(name, &text.replace("@ROOT@", &site.root().display().to_string()));
        if !name.ends_with(".pub") {
            fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    copy(&stored("state"), &site.path("state"));
    for empty in ["state/spool/tmp", "state/slots"] {
        fs::create_dir(site.path(empty)).unwrap();
        fs::set_permissions(site.path(empty), fs::Permissions::from_mode(0o700)).unwrap();
    }
    site.write("state/marker", "");
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let inode = fs::metadata(site.path("state/marker")).unwrap().ino().to_string();
    let marker = fs::read_to_string(stored("marker")).unwrap();
    let marker = marker
        .replace("@MACHINE@", machine.trim())
        .replace("@UID@", &geteuid().as_raw().to_string())
        .replace("@INODE@", &inode);
    let body = marker.strip_suffix("\ncheck @CHECK@\n").unwrap();
    site.write("state/marker", &format!("{body}\ncheck {:08x}\n", crc32(body.as_bytes())));
    site
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) =
            (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// What `log` says of each job, by its nonce.
fn log(site: &Site) -> BTreeMap<String, serde_json::Value> {
    let log = site.tool(&["log", "--json"]);
    assert_eq!(log.status, 0, "{log:?}");
    let lines = log.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.map(|job: serde_json::Value| (job["cti"].as_str().unwrap().to_owned(), job)).collect()
}

#[test]
fn a_stored_spool_is_taken_up_and_every_answer_given() {
    let site = site();
    let checked = site.tool(&["check"]);
    assert_eq!(checked.status, 0, "{checked:?}");
    let before = log(&site);
    for (cti, verdict, end) in OVER {
        let job = &before[cti];
        assert_eq!((job["verdict"].as_str(), job["end"].as_str()), (Some(verdict), Some(end)));
    }
    assert_eq!(before.len(), OVER.len() + UNFINISHED.len());

    let resumed = site.tool(&["resume"]);
    assert_eq!((resumed.status, resumed.stdout.as_str()), (0, ""), "{resumed:?}");
    let after = log(&site);
    let answers = site.answers();
    for (cti, end) in UNFINISHED {
        let job = &after[cti];
        assert!(job["end"].as_str().unwrap().starts_with(end), "{job}");
        assert_eq!(job["answer"], "handed over", "{job}");
        let about = |answer: &&String| {
            answer.contains(&format!("Nonce     {cti}")) && answer.contains("To: alice@example.com")
        };
        assert_eq!(answers.iter().filter(about).count(), 1, "{cti}");
    }
    for (cti, ..) in OVER {
        assert_eq!(before[cti], after[cti], "what is over stays as it was");
    }
}

#[test]
fn stored_nonces_and_revocations_still_count() {
    let site = site();
    let request = fs::read_to_string(stored("request.eml")).unwrap();
    let again = site.deliver(&request);
    assert_eq!(again.status, 1, "{again:?}");
    assert!(again.stderr.contains("refused reason=replayed"), "{again:?}");
    let checked = site.tool(&["check"]);
    assert!(checked.stdout.contains("[key.bob] was revoked by a request"), "{checked:?}");
    let new = site.deliver(&crate::support::message(&site.sign(&[], &["uptime"])));
    assert!(new.stderr.starts_with("accepted key=alice cti="), "{new:?}");
}

#[test]
fn a_stored_answer_still_verifies() {
    let site = site();
    let (key, request) = (stored("host_ed25519.pub"), stored("request.eml"));
    let verify =
        ["verify", "--host-key", key.to_str().unwrap(), "--request", request.to_str().unwrap()];
    let verified = site.tool_on(&verify, &fs::read(stored("answer.eml")).unwrap());
    assert_eq!(verified.status, 0, "{verified:?}");
    assert!(verified.stdout.starts_with("genuine\n"), "{verified:?}");
}
