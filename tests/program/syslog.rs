//! The log as a syslog daemon gets it.

use std::process::Command;

use crate::support::{Site, is_root, message, missing, needed, run};

/// Binds `/dev/log`, says so, and prints what arrives until nothing has for a second.
const DAEMON: &str = r#"
import socket, subprocess, sys
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
log.settimeout(1)
for mail in sys.argv[2:]:
    subprocess.run([sys.argv[1], "--config", "config.toml", "--wait", "--profile", "mailbox"], stdin=open(mail))
try:
    while True:
        print(log.recv(4096).decode())
except TimeoutError:
    pass
"#;

#[test]
fn syslog_hears_of_every_marker_and_of_no_other_mail() {
    let (Some(unshare), Some(python)) = (needed("unshare"), needed("python3")) else { return };
    if !is_root() {
        return missing("root, for a /dev of our own");
    }
    let site = Site::new();
    site.write("good", &message(&site.sign(&[], &["mark"])));
    site.write("denied", &message(&site.sign(&[], &["unheard-of"])));
    site.write("damaged", &message("netsysrq begin\nabcde\n"));
    site.write("ordinary", &message("hello\n"));
    site.write("daemon.py", DAEMON);
    let script = "mount -t tmpfs dev /mnt && cp -a /dev/null /dev/urandom /mnt/ && mount --bind /mnt /dev && exec \"$@\"";
    let mut command = Command::new(unshare);
    command.args(["-m", "sh", "-c", script, "sh"]).arg(python).arg("daemon.py");
    command.arg(crate::support::PROGRAM).args(["good", "denied", "damaged", "good", "ordinary"]);
    let ran = run(command.current_dir(site.root()), b"");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let words: Vec<&str> = lines.iter().filter_map(|line| line.split(": ").nth(1)).collect();
    assert_eq!(lines.len(), 6, "{ran:?}");
    // LOG_AUTHPRIV and LOG_INFO
    assert!(lines.iter().all(|line| line.starts_with("<86>netsysrq-mail[")), "{ran:?}");
    assert!(words[0].starts_with("accepted key=alice cti="), "{ran:?}");
    assert!(words[1].starts_with("answered key=alice cti="), "{ran:?}");
    assert!(
        words[2].starts_with("refused reason=unknown-command verdict=denied key=alice"),
        "{ran:?}"
    );
    assert!(words[3].starts_with("answered key=alice cti="), "{ran:?}");
    assert_eq!(words[4], "refused reason=damaged msgid=<1@client.example>");
    assert!(words[5].starts_with("refused reason=replayed key=alice"), "{ran:?}");
}
