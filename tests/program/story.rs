//! A request from the signature to the verified answer.

use crate::support::{Site, message};

#[test]
fn a_signed_request_runs_once_and_its_answer_verifies() {
    let site = Site::new();
    let request = site.sign(&[], &["mark"]);
    let delivered = site.deliver(&message(&request));
    assert_eq!((delivered.status, delivered.stdout.as_str()), (0, ""), "{delivered:?}");
    assert!(delivered.stderr.starts_with("accepted key=alice cti="), "{delivered:?}");
    assert_eq!(site.marks(), 1);
    let answers = site.answers();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].contains("\nTo: alice@example.com\n"), "{}", answers[0]);

    site.write("request", &request);
    let host_key = site.path("host.pub");
    let verify = ["verify", "--host-key", host_key.to_str().unwrap(), "--request"];
    let verified = site.tool_on(
        &[&verify[..], &[site.path("request").to_str().unwrap()]].concat(),
        answers[0].as_bytes(),
    );
    assert_eq!(verified.status, 0, "{verified:?}");
    assert!(verified.stdout.ends_with("\ndone\n"), "{verified:?}");

    let again = site.deliver(&message(&request));
    assert_eq!((again.status, site.marks(), site.answers().len()), (1, 1, 1));
    assert!(again.stderr.contains("refused reason=replayed"), "{again:?}");
}
