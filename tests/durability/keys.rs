//! SysRq keys, pressed into a file.

use std::fs;

use crate::ground::site;
use crate::support::message;

#[test]
fn a_drastic_sequence_is_announced_pressed_once_and_answered() {
    let site = site();
    let request = message(&site.sign(&[], &["sysrq", "sub"]));
    assert_eq!(site.deliver(&request).status, 0);
    assert_eq!(site.read("trigger"), "sub");
    let answers = site.answers();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(answers.iter().any(|mail| mail.contains("pressing s, u, b")), "{answers:?}");
    assert_eq!(site.deliver(&request).status, 1);
    assert_eq!(site.read("trigger"), "sub");
}

#[test]
fn pressing_e_and_i_into_a_file_as_root_signals_nobody() {
    let site = site();
    assert_eq!(site.deliver(&message(&site.sign(&[], &["sysrq", "sisub"]))).status, 0);
    assert_eq!(site.read("trigger"), "sisub");
}

#[test]
fn a_sequence_that_is_not_listed_is_never_pressed() {
    let site = site();
    for keys in ["b", "su", "subb", "", "sub;b"] {
        let denied = site.deliver(&message(&site.sign(&[], &["sysrq", keys])));
        assert_eq!(denied.status, 0, "{denied:?}");
        assert!(denied.stderr.contains("reason=not-allowed verdict=denied"), "{denied:?}");
    }
    assert_eq!(site.read("trigger"), "");
}

#[test]
fn the_built_in_sequences_press_their_keys() {
    for (name, keys) in [("reboot-safe", "sub"), ("poweroff-safe", "suo"), ("reboot-now", "b")] {
        let site = site();
        assert_eq!(site.deliver(&message(&site.sign(&[], &[name]))).status, 0);
        assert_eq!(site.read("trigger"), keys);
    }
}

#[test]
fn a_missing_trigger_makes_keys_unavailable_and_is_not_made() {
    let site = site();
    fs::remove_file(site.path("trigger")).unwrap();
    let unavailable = site.deliver(&message(&site.sign(&[], &["sysrq", "sub"])));
    assert!(unavailable.stderr.contains("reason=unavailable"), "{unavailable:?}");
    assert_eq!(site.answers().len(), 1);
    assert!(!site.path("trigger").exists());
}

#[test]
fn a_dry_run_says_the_keys_and_presses_none() {
    let site = site();
    assert_eq!(site.deliver(&message(&site.sign(&["-n"], &["reboot-safe"]))).status, 0);
    assert_eq!(site.read("trigger"), "");
    assert!(site.answers()[0].contains("pressing s, u, b"));
}
