//! Exim 4.96.
