//! `demo`: shows the whole story in a temporary directory, with the program itself, and files instead of mail.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::output::say;
use crate::exit::Tool;

/// Tells the story.
pub(super) fn run() -> Result<Tool, String> {
    let scene = Scene::build().map_err(|error| format!("the demo cannot be set up: {error}"))?;
    let told = scene.tell();
    let place = scene.directory.path().display().to_string();
    scene.directory.close().map_err(|error| format!("{place}: {error}"))?;
    told
}

struct Scene {
    directory: TempDir,
}

impl Scene {
    fn build() -> std::io::Result<Self> {
        let directory = TempDir::with_prefix("netsysrq-demo-")?;
        fs::create_dir(directory.path().join("answers"))?;
        Ok(Self { directory })
    }

    fn tell(&self) -> Result<Tool, String> {
        heading("1. The operator makes a key, the host makes its own and its spool");
        self.program(&["keygen", &self.path("alice")], "")?;
        self.write("config.toml", &self.config()?)?;
        self.program(&["init"], "")?;
        self.program(&["check"], "").map(|(_, text)| say(&text))?;

        heading("2. The operator signs a request; this is the mail, as any client could send it");
        let mail = self.sign("alice")?;
        say(&mail);

        heading("3. The mail is delivered through the filter");
        let status = self.deliver(&mail)?;
        say(&format!(
            "The filter ended with status {status}: it was for us, and has been dealt with.\n"
        ));

        heading("4. This is the answer");
        let answers = self.answers()?;
        let [answer] = answers.as_slice() else {
            return Err(format!("expected one answer, found {}", answers.len()));
        };
        let answer = fs::read_to_string(answer).map_err(|error| error.to_string())?;
        say(&answer);

        heading("5. The operator verifies it");
        self.write("request.eml", &mail)?;
        let (host_key, request) = (self.path("host_ed25519.pub"), self.path("request.eml"));
        let arguments = ["verify", "--host-key", &host_key, "--request", &request];
        let (genuine, text) = self.program(&arguments, &answer)?;
        say(&text);

        heading("6. The same mail again");
        let replayed = self.deliver(&mail)?;
        let after_replay = self.answers()?.len();
        say(&format!(
            "Status {replayed}: left to its readers. Answers so far: {after_replay}. Nothing was run.\n"
        ));

        heading("7. A forged one");
        self.program(&["keygen", &self.path("mallory")], "")?;
        let forged = self.deliver(&self.sign("mallory")?)?;
        let after_forgery = self.answers()?.len();
        say(&format!(
            "Status {forged}. Answers so far: {after_forgery}. A stranger gets silence.\n"
        ));

        let as_told = (status, genuine, replayed, after_replay, forged, after_forgery);
        if as_told == (0, 0, 1, 1, 1, 1) {
            Ok(Tool::Yes)
        } else {
            Err(format!("not as it should be: {as_told:?}"))
        }
    }

    fn config(&self) -> Result<String, String> {
        let public =
            fs::read_to_string(self.path("alice.pub")).map_err(|error| error.to_string())?;
        let uptime = if Path::new("/usr/bin/uptime").exists() {
            r#"["/usr/bin/uptime"]"#
        } else {
            r#"["/bin/cat", "/proc/uptime"]"#
        };
        Ok(format!(
            "names = [\"web1\"]\nstate = {:?}\n\n[answer]\nfrom = \"netsysrq@web1.example.com\"\n\
             transport = \"file\"\nsigning_key = {:?}\n\n[answer.file]\ndirectory = {:?}\n\n\
             [key.alice]\npublic = {:?}\nanswer_to = \"alice@example.com\"\nallow = [\"ping\", \"uptime\"]\n\n\
             [command.uptime]\nrun = {uptime}\n",
            self.path("state"),
            self.path("host_ed25519"),
            self.path("answers"),
            public.trim(),
        ))
    }

    /// A request in the name of `alice`, signed with the key in that file.
    fn sign(&self, key: &str) -> Result<String, String> {
        let key = self.path(key);
        let arguments = ["sign", "--key", &key, "--key-id", "alice", "--mail"];
        let addresses = ["--from", "alice@example.com", "--rcpt", "netsysrq@web1.example.com"];
        let signed = [arguments.as_slice(), &addresses, &["web1", "uptime"]].concat();
        Ok(self.program(&signed, "")?.1)
    }

    fn deliver(&self, mail: &str) -> Result<i32, String> {
        Ok(self.program(&["deliver", "--profile", "mailbox", "--wait"], mail)?.0)
    }

    /// Runs this very program on this scene's configuration.
    fn program(&self, arguments: &[&str], stdin: &str) -> Result<(i32, String), String> {
        let run = || -> std::io::Result<(i32, String)> {
            let mut child = Command::new("/proc/self/exe")
                .args(["--config", &self.path("config.toml")])
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            if let Some(mut input) = child.stdin.take() {
                input.write_all(stdin.as_bytes())?;
            }
            let output = child.wait_with_output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok((output.status.code().unwrap_or(-1), text))
        };
        run().map_err(|error| format!("{}: {error}", arguments.join(" ")))
    }

    fn answers(&self) -> Result<Vec<PathBuf>, String> {
        let entries = fs::read_dir(self.path("answers")).map_err(|error| error.to_string())?;
        Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|error| format!("{path}: {error}"))
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

fn heading(text: &str) {
    say(&format!("\n=== {text}\n\n"));
}
