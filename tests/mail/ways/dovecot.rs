//! Dovecot 2.3 with Pigeonhole 0.5, called by Postfix.
