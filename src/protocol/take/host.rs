//! What the runner needs of the world, and the mails that it hands over.

use std::io;

use lettre::Address;

use crate::protocol::job::name::Name;
use crate::protocol::job::outcome::{Outcome, Stage};
use crate::protocol::rules::keyring::Key;
use crate::protocol::rules::verdict::Deed;
use crate::protocol::time::Here;
use crate::protocol::wire::request::Request;

/// What the protocol needs done in the world, once it may be done.
pub trait Host {
    /// Now, and where we are.
    fn here(&self) -> Here;

    /// Waits until there is a place for the deed beside others, and keeps it.
    ///
    /// # Errors
    /// When there is no way to tell.
    fn queue(&mut self, deed: &Deed<'_>) -> io::Result<()>;

    /// Gets all that the deed needs before it is announced, since a machine in trouble may have none of it to give
    /// later.
    ///
    /// # Errors
    /// Why it cannot be done here: nothing was announced, and nothing is done.
    fn prepare(&mut self, deed: &Deed<'_>) -> Result<Prepared, String>;

    /// Does a deed to its end; its start is on the disk. It need not return.
    fn perform(&mut self, deed: &Deed<'_>, key: &Key, request: &Request) -> Outcome;

    /// Hands a mail over to the mail system, and waits a little after one that comes before something drastic.
    ///
    /// # Errors
    /// When it was not taken.
    fn hand_over(&mut self, letter: &Letter<'_>) -> io::Result<()>;
}

/// What getting ready has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Whether the machine ends with the deed: then there is another boot after it, in which it is not begun again.
    pub is_last: bool,
    /// What was unusual, for whoever asked.
    pub remark: Option<String>,
}

/// A mail to be handed over.
#[derive(Debug)]
pub struct Letter<'a> {
    /// Which answer.
    pub stage: Stage,
    /// The job that it answers.
    pub job: &'a Name,
    /// The address.
    pub to: &'a Address,
    /// The whole mail, line ends LF.
    pub mail: &'a [u8],
}
