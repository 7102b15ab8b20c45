//! Programs that fetch mail from a server (Dovecot's IMAP) and hand it on.
