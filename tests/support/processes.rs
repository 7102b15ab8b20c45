//! Processes: the program under test, how a command is run, and how to wait for what a process does.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_netsysrq-mail");

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a command with `stdin`, which it need not read; a death by signal is status -1.
pub(crate) fn run(command: &mut Command, stdin: &[u8]) -> Ran {
    run_fed(command, stdin.to_vec()).0
}

/// Runs a command with `stdin`, and says whether it took all of it.
pub(crate) fn run_fed(command: &mut Command, stdin: Vec<u8>) -> (Ran, io::Result<()>) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut input = child.stdin.take().unwrap();
    // a program that does not read must not stop the test
    let writer = std::thread::spawn(move || input.write_all(&stdin));
    let output = child.wait_with_output().unwrap();
    let taken = writer.join().unwrap();
    (Ran::of(&output), taken)
}

/// Waits for something that another process is about to do, on a machine that may be busy with other things.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited 120 s for nothing: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Shell words that wait until `go` is there, while its directory is: a test that fails leaves no process behind.
pub(crate) fn waiting_for(go: &Path) -> String {
    let (directory, go) = (go.parent().unwrap().display(), go.display());
    format!("while [ -d {directory} ] && [ ! -e {go} ]; do sleep 0.02; done")
}

/// Writes an executable shell script.
pub(crate) fn write_script(path: &Path, text: &str) {
    write_program(path, &format!("#!/bin/sh\n{text}\n"));
}

/// Writes an executable file, by another process: one that we wrote ourselves could not be run while a child that
/// another test is just starting still holds it open (ETXTBSY).
pub(crate) fn write_program(path: &Path, text: &str) {
    let mut shell = Command::new("/bin/sh");
    let written =
        run(shell.args(["-c", r#"cat >"$0" && chmod 755 "$0""#]).arg(path), text.as_bytes());
    assert_eq!(written.status, 0, "{written:?}");
}
