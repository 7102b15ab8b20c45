//! Mails that left a guest: what `verify` makes of them on the host.

use std::process::Command;

use serde_json::Value;

use crate::guest::Guest;
use crate::kernels::program;
use crate::support::run;
use crate::wires::{Event, Seen};

/// An answer that verifies.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// When it left, since the guest was started.
    pub(crate) at: std::time::Duration,
    /// `notice`, `result` or `back`.
    pub(crate) stage: String,
    /// `run`, or why not.
    pub(crate) verdict: String,
    /// The output that is signed.
    pub(crate) output: String,
    /// The mail.
    pub(crate) text: String,
}

impl Guest {
    /// The answers to one of the requests, each verified.
    pub(crate) fn answers(&self, seen: &Seen, request: &str) -> Vec<Answer> {
        seen.mails().filter_map(|mail| self.verify(mail, request)).collect()
    }

    /// `None` if the mail answers another request. One that does not verify is a failure.
    fn verify(&self, mail: &Event, request: &str) -> Option<Answer> {
        let mut verify = Command::new(program());
        verify.args(["verify", "--json", "--host-key"]).arg(self.site.path("host.pub"));
        verify.arg("--request").arg(self.message(request));
        let verified = run(&mut verify, mail.text.as_bytes());
        let said = serde_json::from_str::<Value>(&verified.stdout);
        let said = said.unwrap_or_else(|_| panic!("{verified:?} of {}", mail.text));
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        (said["for_request"] == true).then(|| Answer {
            at: mail.at,
            stage: text("stage"),
            verdict: text("verdict"),
            output: text("output"),
            text: mail.text.clone(),
        })
    }
}
