//! What the spool remembers: `last`, `revoke`, `log`, and whoever is notified.

use crate::ground::site;
use crate::support::message;

#[test]
fn last_tells_of_this_keys_requests_and_answers_them_again() {
    let site = site();
    site.deliver(&message(&site.sign(&[], &["mark"])));
    site.deliver(&message(&site.sign_as("pager", &[], "web1", &["ping"])));
    site.deliver(&message(&site.sign(&[], &["fail"])));
    let before = site.answers();
    // a file's name has its second in it
    std::thread::sleep(std::time::Duration::from_millis(1100));
    site.deliver(&message(&site.sign(&[], &["last", "5"])));
    let after = site.answers();
    assert_eq!((before.len(), after.len()), (3, 6), "two again, and the answer to last");
    let told = after.iter().find(|mail| mail.contains("Asked     last 5")).unwrap();
    let told = told.replace("=\n", "");
    assert!(told.contains("run exit:3, answer handed over: fail"), "{told}");
    assert!(told.contains("run exit:0, answer handed over: mark"), "{told}");
    assert!(!told.contains(": ping"), "another key's request: {told}");
    assert_eq!(site.marks(), 1, "nothing is run again");
}

#[test]
fn a_revoked_key_is_denied_until_somebody_lifts_it_by_hand() {
    let site = site();
    let own = site.deliver(&message(&site.sign_as("pager", &[], "web1", &["revoke", "pager"])));
    assert!(own.stderr.contains("accepted"), "its own key, always: {own:?}");
    let denied = site.deliver(&message(&site.sign_as("pager", &[], "web1", &["ping"])));
    assert!(denied.stderr.contains("reason=revoked verdict=denied"), "{denied:?}");
    let other = site.deliver(&message(&site.sign(&[], &["ping"])));
    assert!(other.stderr.contains("accepted"), "{other:?}");
    std::fs::remove_file(site.path("state/revoked/pager")).unwrap();
    let lifted = site.deliver(&message(&site.sign_as("pager", &[], "web1", &["ping"])));
    assert!(lifted.stderr.contains("accepted"), "{lifted:?}");
}

#[test]
fn another_key_is_revoked_only_by_one_that_may() {
    let site = site();
    let denied = site.deliver(&message(&site.sign_as("pager", &[], "web1", &["revoke", "alice"])));
    assert!(denied.stderr.contains("reason=not-allowed"), "{denied:?}");
    let allowed = site.deliver(&message(&site.sign(&[], &["revoke", "pager"])));
    assert!(allowed.stderr.contains("accepted"), "{allowed:?}");
    assert!(site.path("state/revoked/pager").exists());
}

#[test]
fn the_log_has_a_line_a_job_newest_first() {
    let site = site();
    site.deliver(&message(&site.sign(&[], &["mark"])));
    site.deliver(&message(&site.sign(&[], &["unheard-of"])));
    let log = site.tool(&["log"]);
    assert_eq!(log.stdout.lines().count(), 2, "{log:?}");
    let json = site.tool(&["log", "--json"]);
    for line in json.stdout.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["answer"], "handed over");
        assert_eq!(value["key"], "alice");
    }
}

#[test]
fn a_notification_tells_of_a_request_without_its_output() {
    let site = site();
    site.configure("from        =", "notify = [\"root@example.com\"]\nfrom        =");
    site.deliver(&message(&site.sign(&[], &["say", "secret words"])));
    let mails = site.answers();
    let copy = mails.iter().find(|mail| mail.contains("To: root@example.com")).unwrap();
    assert!(copy.contains("Auto-Submitted: auto-generated"), "{copy}");
    assert!(copy.contains("alice asked web1 for say secret words: run, exit:0"), "{copy}");
    assert_eq!(mails.len(), 2);
}

#[test]
fn resume_has_nothing_to_do_when_all_is_answered() {
    let site = site();
    site.deliver(&message(&site.sign(&[], &["mark"])));
    let resumed = site.tool(&["resume"]);
    assert_eq!((resumed.status, resumed.stdout.as_str()), (0, ""), "{resumed:?}");
    assert_eq!((site.marks(), site.answers().len()), (1, 1));
}
