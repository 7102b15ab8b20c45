//! `explain`: says what is in a message on standard input, what would be done and why, and changes nothing.

use std::path::Path;

use serde_json::{Value, json};

use super::output::say;
use crate::config::{self, Configuration};
use crate::exit::Tool;
use crate::protocol::refusal::{Refusal, Stop};
use crate::protocol::rules::policy::Ledger;
use crate::protocol::rules::verdict::Verdict;
use crate::protocol::wire::message::{Candidate, SEARCHED};
use crate::protocol::wire::request::Request;
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
            let foretold = Foretold { why, ..Foretold::refused(Refusal::Damaged) };
            Finding::new(&place.to_string(), None, foretold)
        })
        .collect();
    for candidate in search.candidates {
        findings.push(explain(candidate, config.as_ref()));
    }
    if findings.is_empty() {
        findings.push(Finding::new("the message", None, Foretold::refused(Refusal::NoFrame)));
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

/// What would become of a request, and why.
struct Foretold {
    word: &'static str,
    reason: &'static str,
    why: String,
    /// Whether it would be claimed, if that is known.
    claimed: Option<bool>,
}

impl Foretold {
    fn refused(refusal: Refusal) -> Self {
        let (reason, why) = (refusal.reason(), refusal.to_string());
        Self { word: "refused", reason, why, claimed: Some(false) }
    }

    fn unknown(reason: &'static str, why: String) -> Self {
        Self { word: "cannot tell", reason, why, claimed: None }
    }
}

struct Finding {
    text: String,
    json: Value,
    claimed: Option<bool>,
}

impl Finding {
    /// `request` with the id of the key that it says it is signed by.
    fn new(place: &str, request: Option<(&str, &Request)>, foretold: Foretold) -> Self {
        let Foretold { word, reason, why, claimed } = foretold;
        let mut text = format!("in {place}: {word}");
        if !reason.is_empty() {
            text.push_str(&format!(" reason={reason}"));
        }
        if !why.is_empty() {
            text.push_str(&format!(": {why}"));
        }
        text.push('\n');
        if let Some((key, request)) = request {
            text.push_str(&format!(
                "  key {key:?} asks {:?} for {:?}{}\n  signed {}, good until {}, nonce {}\n",
                request.audience,
                request.command,
                if request.dry { ", dry run" } else { "" },
                request.issued,
                request.expires,
                request.nonce,
            ));
        }
        let json = json!({
            "place": place, "outcome": word, "reason": reason, "why": why,
            "request": request.map(|(key, r)| json!({
                "kid": key, "aud": r.audience, "cmd": r.command, "dry": r.dry, "cti": r.nonce.to_string(),
                "iat": r.issued.unix(), "exp": r.expires.unix(),
            })),
        });
        Self { text, json, claimed }
    }
}

fn explain(candidate: Candidate, config: Result<&Configuration, &String>) -> Finding {
    let place = candidate.place().to_string();
    let request = candidate.envelope().ok().and_then(|found| {
        let key = String::from_utf8_lossy(found.kid()).into_owned();
        Some((key, Request::decode(found.unverified_payload()).ok()?))
    });
    let foretold = match config {
        Ok(config) => judge(candidate, config),
        Err(fault) => Foretold::unknown("configuration", fault.clone()),
    };
    let request = request.as_ref().map(|(key, request)| (key.as_str(), request));
    Finding::new(&place, request, foretold)
}

fn judge(candidate: Candidate, config: &Configuration) -> Foretold {
    let verified = match candidate.verify(&config.keyring) {
        Ok(verified) => verified,
        Err(refusal) => return Foretold::refused(refusal),
    };
    let name = verified.job_name();
    let spool = FileSpool::open(&config.state).and_then(|spool| Ok((spool.ledger()?, spool)));
    // without a spool, judge as if it were empty
    let ledger = match &spool {
        Ok((ledger, _)) => ledger.clone(),
        Err(_) => Ledger { now: clock::now(), ..Ledger::default() },
    };
    let judged = match verified.judge(&config.policy, &ledger) {
        Ok(judged) => judged,
        Err(Stop::Refused(Refusal::WrongHost)) => {
            let names = config.policy.names.iter().chain(&config.policy.groups);
            let names = names.map(String::as_str).collect::<Vec<_>>().join(", ");
            let why = format!("{}: this one is {names}", Refusal::WrongHost);
            return Foretold { why, ..Foretold::refused(Refusal::WrongHost) };
        }
        Err(Stop::Refused(refusal)) => return Foretold::refused(refusal),
        Err(Stop::Deferred(deferral)) => {
            let (reason, why) = (deferral.reason(), deferral.to_string());
            return Foretold { word: "deferred", reason, why, claimed: Some(false) };
        }
    };
    match spool {
        Ok((_, spool)) if spool.is_spent(&name) => return Foretold::refused(Refusal::Replayed),
        Ok(_) => {}
        Err(error) => return Foretold::unknown("spool", error.to_string()),
    }
    let verdict = judged.verdict();
    let (reason, why) = match verdict {
        Verdict::Run(action) => ("", action.to_string()),
        Verdict::Denied(_)
        | Verdict::Expired
        | Verdict::TooMany { .. }
        | Verdict::Unavailable(_) => (verdict.reason(), verdict.why()),
    };
    Foretold { word: verdict.ruling().word(), reason, why, claimed: Some(true) }
}
