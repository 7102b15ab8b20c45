//! A request as a link that a mail client opens (RFC 6068), and as a QR code for a terminal.

use qrcodegen::{QrCode, QrCodeEcc};

use super::sign::Signed;

/// The quiet zone that a QR code needs around it, in modules (ISO/IEC 18004).
const QUIET: i32 = 4;

/// A `mailto:` link whose body is the frame. Groups are joined: every blank would take three characters.
#[must_use]
pub fn mailto(address: &str, signed: &Signed) -> String {
    let lines = signed.frame.lines().map(|line| {
        if line.starts_with("netsysrq") { line.to_owned() } else { line.replace(' ', "") }
    });
    let body = lines.collect::<Vec<_>>().join("\r\n");
    format!("mailto:{}?subject=Request&body={}", escaped(address, b"@+"), escaped(&body, b""))
}

/// What is neither unreserved (RFC 3986) nor in `allowed` becomes `%XX`.
fn escaped(text: &str, allowed: &[u8]) -> String {
    let mut escaped = String::new();
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) || allowed.contains(&octet) {
            escaped.push(char::from(octet));
        } else {
            escaped.push_str(&format!("%{octet:02X}"));
        }
    }
    escaped
}

/// A QR code, two modules per character, for a terminal that writes light on dark: light modules are blocks. `None` if
/// there is too much text.
#[must_use]
pub fn qr(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let end = code.size().checked_add(QUIET)?;
    let mut drawn = String::new();
    for y in (-QUIET..end).step_by(2) {
        for x in -QUIET..end {
            let light = |y: i32| !code.get_module(x, y);
            drawn.push(match (light(y), light(y.saturating_add(1))) {
                (true, true) => '\u{2588}',
                (true, false) => '\u{2580}',
                (false, true) => '\u{2584}',
                (false, false) => ' ',
            });
        }
        drawn.push('\n');
    }
    Some(drawn)
}
