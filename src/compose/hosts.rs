//! `hosts.toml`: the hosts that an operator signs for, one stanza per host, as `init` prints it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hosts {
    /// By the name that requests are addressed to.
    #[serde(default)]
    pub host: BTreeMap<String, Host>,
}

/// One host.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The address that requests are mailed to.
    pub mail: Option<String>,
    /// The OpenSSH public key line that its answers are signed with.
    pub host_key: Option<String>,
    /// The key file to sign with; `~/` is the home directory.
    pub key: Option<String>,
    /// The key's id on that host.
    pub key_id: Option<String>,
    /// The address that requests are mailed from.
    pub from: Option<String>,
    /// The commands that this operator uses there; `sign` prints a note about any other. Empty if nobody keeps a list.
    #[serde(default)]
    pub commands: Vec<String>,
}

impl Hosts {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong, and on which line.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(offset).filter(|c| *c == b'\n').count();
            format!("{}: {}", line.saturating_add(1), error.message())
        })
    }

    /// The public keys of all hosts, each with the name of its host.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.host.iter().filter_map(|(name, host)| Some((name.as_str(), host.host_key.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_with_its_line() {
        let fault = Hosts::parse("[host.web1]\nmail = \"a@b\"\nmial = \"a@b\"\n").unwrap_err();
        assert!(fault.starts_with("3: ") && fault.contains("mial"), "{fault}");
    }

    #[test]
    fn the_hosts_that_have_a_key_are_told_with_it() {
        let text =
            "[host.web1]\nhost_key = \"one\"\n[host.web2]\n[host.web3]\nhost_key = \"three\"\n";
        let hosts = Hosts::parse(text).unwrap();
        assert_eq!(hosts.keys().collect::<Vec<_>>(), [("web1", "one"), ("web3", "three")]);
    }
}
