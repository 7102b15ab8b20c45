//! `explain`: a message on standard input; says what is in it, what would be done and why, and changes nothing.

use std::path::Path;

use serde_json::{Value, json};

use super::say;
use crate::config::{self, Configuration};
use crate::exit::Tool;
use crate::protocol::keyring::Verified;
use crate::protocol::message::{Candidate, SEARCHED};
use crate::protocol::policy::{Ledger, Policy};
use crate::protocol::refusal::{Refusal, Stop};
use crate::protocol::request::Request;
use crate::protocol::verdict::{Action, Deed, Verdict};
use crate::system::spool::FileSpool;
use crate::system::{clock, stdin};

/// Explains.
pub(super) fn run(config: Option<&Path>, json: bool) -> Result<Tool, String> {
    let message = stdin::read(SEARCHED).map_err(|error| error.to_string())?;
    let search = Candidate::find(&message);
    let path = config::path(config);
    let config = config::load_or_say(&path);
    let mut findings: Vec<Finding> = search
        .damaged
        .iter()
        .map(|(place, damage)| {
            let why = format!("{}: {damage}", Refusal::Damaged);
            let outcome = ("refused", Refusal::Damaged.reason(), why.as_str());
            Finding::new(&place.to_string(), None, outcome, Some(false))
        })
        .collect();
    for candidate in search.candidates {
        findings.push(explain(candidate, config.as_ref()));
    }
    if findings.is_empty() {
        findings.push(Finding::refused("the message", None, Refusal::NoFrame));
    }
    if json {
        let all: Vec<&Value> = findings.iter().map(|finding| &finding.json).collect();
        say(&format!("{}\n", json!(all)));
    } else {
        findings.iter().for_each(|finding| say(&finding.text));
    }
    let known = findings.iter().filter_map(|finding| finding.claimed);
    Ok(match known.clone().any(|claimed| claimed) {
        true => Tool::Yes,
        false if known.count() == findings.len() => Tool::No,
        false => Tool::CannotTell,
    })
}

struct Finding {
    text: String,
    json: Value,
    claimed: Option<bool>,
}

impl Finding {
    fn new(
        place: &str,
        request: Option<&Request>,
        outcome: (&str, &str, &str),
        claimed: Option<bool>,
    ) -> Self {
        let (word, reason, why) = outcome;
        let mut text = format!("in {place}: {word}");
        if !reason.is_empty() {
            text.push_str(&format!(" reason={reason}"));
        }
        if !why.is_empty() {
            text.push_str(&format!(": {why}"));
        }
        text.push('\n');
        if let Some(request) = request {
            text.push_str(&format!(
                "  asks {:?} for {:?}{}\n  signed {}, good until {}, nonce {}\n",
                request.audience,
                request.command,
                if request.dry { ", dry run" } else { "" },
                request.issued,
                request.expires,
                request.cti(),
            ));
        }
        let json = json!({
            "place": place, "outcome": word, "reason": reason, "why": why,
            "request": request.map(|r| json!({
                "aud": r.audience, "cmd": r.command, "dry": r.dry, "cti": r.cti(),
                "iat": r.issued.unix(), "exp": r.expires.unix(),
            })),
        });
        Self { text, json, claimed }
    }

    fn refused(place: &str, request: Option<&Request>, refusal: Refusal) -> Self {
        let outcome = ("refused", refusal.reason(), refusal.to_string());
        Self::new(place, request, (outcome.0, outcome.1, &outcome.2), Some(false))
    }
}

fn explain(candidate: Candidate, config: Result<&Configuration, &String>) -> Finding {
    let place = candidate.place().to_string();
    let unverified = candidate
        .envelope()
        .and_then(|e| Request::decode(e.unverified_payload()).map_err(|_| Refusal::Form));
    let config = match config {
        Ok(config) => config,
        Err(fault) => {
            let outcome = ("cannot tell", "configuration", fault.as_str());
            return Finding::new(&place, unverified.as_ref().ok(), outcome, None);
        }
    };
    let verified = match candidate.verify(&config.keyring) {
        Ok(verified) => verified,
        Err(refusal) => return Finding::refused(&place, unverified.as_ref().ok(), refusal),
    };
    let request = verified.request().clone();
    let name = verified.job_name();
    let spool = FileSpool::open(&config.state).and_then(|spool| Ok((spool.ledger()?, spool)));
    // without a spool, as of an empty one
    let ledger = match &spool {
        Ok((ledger, _)) => ledger.clone(),
        Err(_) => Ledger { now: clock::now(), ..Ledger::default() },
    };
    let finding = judge(verified, &config.policy, &ledger, &place);
    match spool {
        _ if finding.claimed == Some(false) => finding,
        Ok((_, spool)) if spool.is_spent(&name) => {
            Finding::refused(&place, Some(&request), Refusal::Replayed)
        }
        Ok(_) => finding,
        Err(error) => {
            Finding::new(&place, Some(&request), ("cannot tell", "spool", &error.to_string()), None)
        }
    }
}

fn judge(verified: Verified<'_>, policy: &Policy, ledger: &Ledger, place: &str) -> Finding {
    let request = verified.request().clone();
    let judged = match verified.judge(policy, ledger) {
        Ok(judged) => judged,
        Err(Stop::Refused(refusal)) => return Finding::refused(place, Some(&request), refusal),
        Err(Stop::Deferred(deferral)) => {
            let (reason, why) = (deferral.reason(), deferral.to_string());
            return Finding::new(place, Some(&request), ("deferred", reason, &why), Some(false));
        }
    };
    let verdict = judged.verdict();
    let (reason, why) = match verdict {
        Verdict::Run(action) => ("", describe(action)),
        Verdict::Denied(_)
        | Verdict::Expired
        | Verdict::TooMany { .. }
        | Verdict::Unavailable(_) => (verdict.reason(), verdict.why()),
    };
    Finding::new(place, Some(&request), (verdict.word(), reason, &why), Some(true))
}

fn describe(action: &Action<'_>) -> String {
    match action {
        Action::Help => "built in: help".to_owned(),
        Action::Ping => "built in: ping".to_owned(),
        Action::Do(Deed::Last(count)) => format!("built in: tell of the last {count}"),
        Action::Do(Deed::Press(keys)) => format!("SysRq keys {keys}"),
        Action::Do(Deed::Revoke(id)) => format!("built in: revoke {id}"),
        Action::Do(Deed::Run { argv, command }) => format!("{argv:?} as {}", command.account.name),
    }
}
