//! Handing a mail over: to a sendmail program, by SMTP, or into a directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, SmtpTransport, Transport as _};
use rustix::fs::{Access, MemfdFlags, memfd_create};
use tempfile::NamedTempFile;

use super::{accounts, exec, urgency};
use crate::protocol::job::outcome::Stage;
use crate::protocol::take::Letter;

/// How answers leave this machine.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Written into a directory, one file for each mail.
    Directory(PathBuf),
    /// Handed to a mail system.
    System(MailSystem),
}

/// What takes a mail from us and delivers it.
#[derive(Clone, Debug)]
pub enum MailSystem {
    /// A program that has sendmail's options.
    Sendmail(PathBuf),
    /// A server.
    Smtp(Smtp),
}

/// A mail server.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether the connection must use TLS.
    pub tls: bool,
    /// User name and password.
    pub credentials: Option<(String, zeroize::Zeroizing<String>)>,
}

/// How long a mail system may take to accept a mail.
pub const DEADLINE: Duration = Duration::from_secs(60);

impl Transport {
    /// Hands a mail over, from the null sender. When this returns, it will be delivered without us.
    ///
    /// # Errors
    /// When it was not taken within `deadline`; the text says by whom and why.
    pub fn send(&self, letter: &Letter<'_>, deadline: Duration) -> io::Result<()> {
        match self {
            Self::Directory(directory) => write_file(directory, letter),
            Self::System(system) => system.submit(None, letter.to, letter.mail, deadline),
        }
    }
}

impl MailSystem {
    /// Hands a mail over, from this envelope sender; `None` is the null sender.
    ///
    /// # Errors
    /// Those of [`Transport::send`].
    pub fn submit(
        &self,
        from: Option<&Address>,
        to: &Address,
        mail: &[u8],
        deadline: Duration,
    ) -> io::Result<()> {
        match self {
            Self::Sendmail(program) => pipe(program, from, to, mail, deadline),
            Self::Smtp(server) => server.send(from, to, mail, deadline),
        }
    }
}

/// `TIME.key.cti.stage.eml`: written aside, synced, then named, so that a watcher never reads half a mail. A copy has
/// its address in the name: there may be several for one job.
fn write_file(directory: &Path, letter: &Letter<'_>) -> io::Result<()> {
    let mut file = NamedTempFile::with_prefix_in(".tmp", directory)?;
    file.write_all(letter.mail)?;
    file.as_file().sync_all()?;
    let time: String =
        super::clock::now().to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let mut name = format!("{time}.{}.{}", letter.job.file(), letter.stage.word());
    if letter.stage == Stage::Copy {
        name.push('.');
        name.extend(
            letter.to.to_string().chars().map(|c| if c == '/' { '%' } else { c }).take(120),
        );
    }
    file.persist(directory.join(name + ".eml"))?;
    File::open(directory)?.sync_all()
}

/// `sendmail -i -f SENDER -- ADDRESS`, the null sender as `<>`, the mail on standard input from memory: a program that
/// does not read cannot stop us.
fn pipe(
    program: &Path,
    from: Option<&Address>,
    to: &Address,
    mail: &[u8],
    deadline: Duration,
) -> io::Result<()> {
    let mut stdin = File::from(memfd_create("mail", MemfdFlags::CLOEXEC)?);
    stdin.write_all(mail)?;
    io::Seek::rewind(&mut stdin)?;
    let account = accounts::own();
    let mut command = Command::new(program);
    command
        .args(["-i", "-f", from.map_or("<>", AsRef::as_ref), "--", to.as_ref()])
        .env_clear()
        .env("PATH", exec::PATH)
        .env("HOME", &account.home)
        .env("USER", &account.name)
        .env("LOGNAME", &account.name)
        .current_dir("/")
        // a wrapper script's own child must not send after we have given up
        .process_group(0)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = urgency::calmly(|| command.spawn())
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
    match exec::wait(child, deadline)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(io::Error::other(format!("{}: {status}", program.display()))),
        None => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("{}: took longer than {deadline:?}", program.display()),
        )),
    }
}

impl Smtp {
    fn send(
        &self,
        from: Option<&Address>,
        to: &Address,
        mail: &[u8],
        deadline: Duration,
    ) -> io::Result<()> {
        let envelope = Envelope::new(from.cloned(), vec![to.clone()]).map_err(io::Error::other)?;
        let mail = String::from_utf8_lossy(mail).replace('\n', "\r\n");
        // lettre ends the last line itself
        let mail = mail.strip_suffix("\r\n").unwrap_or(&mail);
        let sent = self.transport(deadline)?.send_raw(&envelope, mail.as_bytes());
        sent.map(drop).map_err(|error| {
            io::Error::other(format!("{}:{}: {}", self.host, self.port, chain(&error)))
        })
    }

    fn transport(&self, deadline: Duration) -> io::Result<SmtpTransport> {
        let uname = rustix::system::uname();
        let ourselves = ClientId::Domain(uname.nodename().to_string_lossy().into_owned());
        let builder = self.builder()?.hello_name(ourselves);
        let mut builder = builder.port(self.port).timeout(Some(deadline));
        if let Some((user, password)) = &self.credentials {
            builder =
                builder.credentials(Credentials::new(user.clone(), password.as_str().to_owned()));
        }
        Ok(builder.build())
    }

    #[cfg(feature = "smtp-tls")]
    fn builder(&self) -> io::Result<lettre::transport::smtp::SmtpTransportBuilder> {
        if !self.tls {
            return Ok(SmtpTransport::builder_dangerous(&self.host));
        }
        SmtpTransport::starttls_relay(&self.host).map_err(io::Error::other)
    }

    #[cfg(not(feature = "smtp-tls"))]
    fn builder(&self) -> io::Result<lettre::transport::smtp::SmtpTransportBuilder> {
        if self.tls {
            return Err(io::Error::other(
                "this build has no TLS: build it with --features smtp-tls",
            ));
        }
        Ok(SmtpTransport::builder_dangerous(&self.host))
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Whether a directory can take answers.
///
/// # Errors
/// When it is missing, is not a directory, or is not ours to write to.
pub fn check_directory(directory: &Path) -> io::Result<()> {
    if !fs::metadata(directory)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(accounts::may(directory, Access::WRITE_OK | Access::EXEC_OK)?)
}
