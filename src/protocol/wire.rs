//! Octets, as docs/protocol.md specifies them: what travels, and how it is found and read.

pub mod answer;
pub mod cose;
pub mod crc;
pub mod damage;
pub mod frame;
pub mod message;
pub mod nonce;
pub mod openssh;
pub mod readings;
pub mod request;
pub mod secret;
pub mod walk;
