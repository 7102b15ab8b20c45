//! The `[answer]` table: who answers, and how answers leave.

use zeroize::Zeroizing;

use super::entries::{AnswerEntry, TransportName};
use super::reader::Reader;
use crate::protocol::job::letter::Letterhead;
use crate::protocol::wire::cose::Seal;
use crate::protocol::wire::openssh;
use crate::system::mailer::{self, MailSystem, Smtp, Transport};
use crate::system::trusted_file;

impl Reader<'_> {
    pub(super) fn answer(
        &mut self,
        entry: AnswerEntry,
        host: Option<&String>,
    ) -> Option<(Letterhead, Transport)> {
        let path = entry.signing_key.get_ref().0.clone();
        let octets = self.read(&entry.signing_key, &path);
        let key = octets.and_then(|octets| {
            let text = Zeroizing::new(String::from_utf8(octets.to_vec()).unwrap_or_default());
            match openssh::private_key(&text) {
                Ok(key) => Some(key),
                Err(why) => {
                    let what = format!("{}: {why}", path.display());
                    self.fault(&entry.signing_key, &what, "make it with netsysrq-mail init");
                    None
                }
            }
        });
        let transport = self.transport(&entry);
        let letterhead =
            Letterhead { from: entry.from.0, host: host?.clone(), key: Seal::Ed25519(key?) };
        Some((letterhead, transport?))
    }

    fn transport(&mut self, entry: &AnswerEntry) -> Option<Transport> {
        match entry.transport.get_ref() {
            TransportName::Sendmail => {
                let path = entry
                    .sendmail
                    .as_ref()
                    .map_or("/usr/sbin/sendmail".into(), |s| s.path.0.clone());
                match trusted_file::check_program(&path) {
                    Ok(()) => Some(Transport::System(MailSystem::Sendmail(path))),
                    Err(fault) => {
                        self.untrusted(&entry.transport, &fault);
                        None
                    }
                }
            }
            TransportName::File => {
                let Some(file) = &entry.file else {
                    let mend = "add [answer.file] with a directory";
                    self.fault(&entry.transport, "transport = \"file\" needs a directory", mend);
                    return None;
                };
                let directory = file.directory.get_ref().0.clone();
                if let Err(error) = mailer::check_directory(&directory) {
                    let what = format!("{}: {error}", directory.display());
                    self.fault(
                        &file.directory,
                        &what,
                        "make a directory that this user may write to",
                    );
                    return None;
                }
                Some(Transport::Directory(directory))
            }
            TransportName::Smtp => self.smtp(entry).map(MailSystem::Smtp).map(Transport::System),
        }
    }

    fn smtp(&mut self, entry: &AnswerEntry) -> Option<Smtp> {
        let Some(smtp) = &entry.smtp else {
            self.fault(
                &entry.transport,
                "transport = \"smtp\" needs a host",
                "add [answer.smtp] with a host",
            );
            return None;
        };
        let tls = smtp.tls.get_ref().is_required();
        if tls && !cfg!(feature = "smtp-tls") {
            let mend = "build with --features smtp-tls, or use transport = \"sendmail\"";
            self.fault(&smtp.tls, "this build has no TLS", mend);
            return None;
        }
        let loopback = smtp.host == "localhost"
            || smtp.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let credentials = match (&smtp.user, &smtp.password_file) {
            (None, None) => None,
            (Some(user), Some(file)) => {
                if !tls && !loopback {
                    self.fault(
                        file,
                        "a password would cross the network in clear",
                        "set tls = \"required\"",
                    );
                    return None;
                }
                let path = self.beside(file.get_ref());
                let octets = self.read(file, &path)?;
                let text =
                    String::from_utf8_lossy(&octets).trim_end_matches(['\r', '\n']).to_owned();
                Some((user.clone(), Zeroizing::new(text)))
            }
            _ => {
                self.fault(
                    &entry.transport,
                    "user and password_file go together",
                    "give both or none",
                );
                return None;
            }
        };
        Some(Smtp { host: smtp.host.clone(), port: smtp.port, tls, credentials })
    }
}
