//! OpenSMTPD 6.8.
