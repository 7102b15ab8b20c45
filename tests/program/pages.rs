//! What pages of `docs/` show, run as printed there.

use std::process::Command;

use crate::support::{PROGRAM, Site, message, needed, run};

const BY_HAND: &str = include_str!("../../docs/by-hand.md");
const EMERGENCY: &str = include_str!("../../docs/emergency.md");

/// The blocks of shell of the page, in their order.
fn blocks() -> Vec<String> {
    let blocks = BY_HAND.split("\n```sh\n").skip(1);
    blocks.map(|rest| rest.split("\n```").next().unwrap().to_owned() + "\n").collect()
}

/// One of the two scripts, written into the site.
fn install_script(site: &Site, usage: &str) {
    let script = blocks().into_iter().find(|block| block.contains(usage)).unwrap();
    assert!(script.lines().count() <= 40, "{} lines", script.lines().count());
    site.write("request.sh", &script);
}

fn request(site: &Site, arguments: &[&str]) -> String {
    let mut sh = Command::new("/bin/sh");
    sh.arg(site.path("request.sh")).args(arguments).current_dir(site.root());
    let ran = run(&mut sh, b"");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{ran:?}");
    ran.stdout
}

/// Requests of every form are run: one word and several, long ones, other alphabets, the program's own long secret.
fn requests_are_run(site: &Site, key: &str, id: &str, commands: &[&[&str]]) {
    for (count, command) in commands.iter().enumerate() {
        let arguments = [&[key, id, "web1"], *command].concat();
        let text = request(site, &arguments);
        assert!(text.lines().all(|line| line.len() <= 50), "{text}");
        let ran = site.deliver(&message(&text));
        assert_eq!(ran.status, 0, "{command:?}: {ran:?}");
        assert!(ran.stderr.starts_with("accepted "), "{command:?}: {ran:?}");
        assert_eq!(site.answers().len(), count + 1);
    }
}

#[test]
fn requests_by_an_hmac_secret_are_run() {
    if needed("openssl").is_none() {
        return;
    }
    let site = Site::new();
    install_script(&site, "request.sh SECRET_FILE");
    requests_are_run(&site, "pager", "pager", &[&["mark"], &["ping"], &["mark"]]);
    assert_eq!(site.marks(), 2);
    // secrets shorter and longer than a block of the hash
    for octets in ["33", "64", "65", "200"] {
        let made = run(Command::new("openssl").args(["rand", "-base64", octets]), b"");
        site.write("long", &made.stdout.replace('\n', ""));
        site.write("pager", &site.read("long"));
        let given = run(Command::new("chmod").arg("600").arg(site.path("pager")), b"");
        assert_eq!(given.status, 0, "{given:?}");
        let text = request(&site, &["long", "pager", "web1", "mark"]);
        let ran = site.deliver(&message(&text));
        assert_eq!(ran.status, 0, "{octets}: {ran:?}");
    }
    assert_eq!(site.marks(), 6);
}

#[test]
fn requests_by_an_ed25519_key_are_run() {
    if needed("openssl").is_none() {
        return;
    }
    let site = Site::new();
    install_script(&site, "request.sh KEY.pem");
    let [genpkey, public] = ["openssl genpkey", "openssl pkey -in"].map(|command| {
        let block = blocks().into_iter().find(|block| block.contains(command)).unwrap();
        let ran = run(Command::new("sh").args(["-c", &block]).current_dir(site.root()), b"");
        assert_eq!(ran.status, 0, "{ran:?}");
        ran.stdout
    });
    assert_eq!(genpkey, "");
    let alice = site.read("alice.pub");
    site.configure(alice.trim(), public.trim());
    let long = "x".repeat(79);
    let commands: [&[&str]; 5] = [
        &["mark"],
        &["say", "hello world; $(id)"],
        &["say", "Gr\u{fc}\u{df}e"],
        &["say", &long],
        &["ping"],
    ];
    requests_are_run(&site, "key.pem", "alice", &commands);
    assert_eq!(site.marks(), 1);
    let answers = site.answers().join("\n");
    assert!(answers.contains("hello world; $(id)") && answers.contains(&long[..50]), "{answers}");
}

#[test]
fn an_emergency_phone_may_send_a_request_of_last_week() {
    let site = Site::new();
    let stanza = EMERGENCY.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let made = run(Command::new(PROGRAM).args(["keygen", "phone"]).current_dir(site.root()), b"");
    assert_eq!(made.status, 0, "{made:?}");
    let public = site.read("phone.pub");
    let stanza = stanza.replace("ssh-ed25519 AAAA... phone", public.trim());
    site.write("config.toml", &format!("{}\n{stanza}", site.read("config.toml")));
    // the trigger of this machine must not be pressed
    site.write(
        "config.toml",
        &(site.read("config.toml") + "\n[sysrq]\ntrigger = \"/nonexistent\"\n"),
    );
    for (command, verdict) in [("ping", "accepted "), ("reboot-safe", "refused reason=")] {
        let options = ["--ttl", "8d"];
        let mail = message(&site.sign_as("phone", &options, "web1", &[command]));
        let ran = site.deliver(&mail);
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.stderr.starts_with(verdict), "{command}: {ran:?}");
        // again, as the page says
        let again = site.deliver(&mail);
        assert!(again.stderr.starts_with("refused reason=replayed"), "{again:?}");
    }
    assert_eq!(site.answers().len(), 2);
}

/// It is for users who may not press keys.
#[test]
fn the_reboot_command_of_the_page_is_valid_configuration() {
    let site = Site::new();
    let stanza = EMERGENCY.split("```toml\n").nth(2).unwrap().split("```").next().unwrap();
    site.configure("\"mark\"]\n\n[command", "\"mark\", \"reboot\"]\n\n[command");
    site.write("config.toml", &format!("{}\n{stanza}", site.read("config.toml")));
    let checked = site.tool(&["check"]);
    // sudo may not be there
    let about_sudo = |line: &&str| line.contains("[command.reboot] cannot be run: /usr/bin/sudo");
    let others: Vec<&str> = checked.stdout.lines().filter(|line| !about_sudo(line)).collect();
    assert!(others.iter().all(|line| line.ends_with("nothing is wrong")), "{checked:?}");
}
