//! `sign --send`: hands the request to a mail system at once.

use std::path::{Path, PathBuf};

use lettre::Address;

use crate::system::mailer::{DEADLINE, MailSystem, Smtp};

/// Where sendmail may be.
const SENDMAIL: [&str; 2] = ["/usr/sbin/sendmail", "/usr/lib/sendmail"];

/// Sends a mail, and says who took it.
pub(super) fn send(
    server: Option<&str>,
    from: &Address,
    to: &Address,
    mail: &str,
) -> Result<String, String> {
    let (system, taker) = match server {
        Some(server) => (MailSystem::Smtp(smtp(server)?), server.to_owned()),
        None => {
            let found = SENDMAIL.iter().find(|path| Path::new(path).exists());
            let path = found.ok_or_else(|| {
                format!("there is no {}: install one (msmtp-mta), or give --smtp HOST", SENDMAIL[0])
            })?;
            (MailSystem::Sendmail(PathBuf::from(path)), (*path).to_owned())
        }
    };
    let sent = system.submit(Some(from), to, mail.as_bytes(), DEADLINE);
    sent.map_err(|error| format!("not sent: {error}"))?;
    Ok(taker)
}

/// `HOST[:PORT]`, without TLS and without a password.
fn smtp(server: &str) -> Result<Smtp, String> {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, port.parse()),
        _ => (server, Ok(25)),
    };
    let port = port.map_err(|_| format!("--smtp {server}: the port is not a number"))?;
    let host = host.trim_matches(['[', ']']).to_owned();
    Ok(Smtp { host, port, tls: false, credentials: None })
}
