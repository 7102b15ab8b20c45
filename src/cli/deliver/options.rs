//! The command line of a delivery, read by hand: a mail that is not for us must not pay for clap.

use std::path::PathBuf;

use crate::exit::Profile;

/// The command line of a delivery.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Who called.
    pub profile: Option<Profile>,
    /// Run inline.
    pub wait: bool,
    /// Copy the log to standard error.
    pub verbose: bool,
    /// Which configuration.
    pub config: Option<PathBuf>,
}

impl Options {
    /// Reads what follows the program's name. The profile is returned even if the rest is wrong.
    ///
    /// # Errors
    /// The word that is wrong, and what was understood.
    pub fn parse(arguments: &[String]) -> Result<Self, (String, Self)> {
        let mut options = Self::default();
        let mut wrong = None;
        let mut words = arguments.iter();
        let mut named = false;
        while let Some(word) = words.next() {
            let (flag, mut value) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            let takes_value = matches!(flag, "--profile" | "--config");
            if takes_value && value.is_none() {
                value = words.next().cloned();
            }
            let understood = match (flag, &value) {
                ("--profile", Some(word)) => {
                    options.profile = Profile::parse(word);
                    options.profile.is_some()
                }
                ("--config", Some(path)) if options.config.is_none() => {
                    options.config = Some(path.into());
                    true
                }
                ("--wait", None) => {
                    options.wait = true;
                    true
                }
                ("--verbose", None) => {
                    options.verbose = true;
                    true
                }
                ("deliver", None) if !named => {
                    named = true;
                    true
                }
                _ => false,
            };
            if !understood {
                wrong.get_or_insert_with(|| word.clone());
            }
        }
        match wrong {
            None => Ok(options),
            Some(word) => Err((word, options)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, (String, Options)> {
        Options::parse(&line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_verb_is_optional_and_flags_have_no_order() {
        let expected = Options {
            profile: Some(Profile::Mta),
            wait: true,
            verbose: false,
            config: Some("/f".into()),
        };
        for line in [
            "--profile mta --wait --config /f",
            "deliver --wait --config=/f --profile=mta",
            "--config /f deliver --profile mta --wait",
        ] {
            assert_eq!(parse(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn a_wrong_word_is_told_and_the_profile_still_counts() {
        for (line, wrong) in [
            ("--profle mta", "--profle"),
            ("--profile", "--profile"),
            ("--profile procmail", "--profile"),
            ("delivr", "delivr"),
            ("deliver deliver", "deliver"),
            ("--config /a --config /b", "--config"),
            ("--wait=yes", "--wait=yes"),
        ] {
            assert_eq!(parse(line).unwrap_err().0, wrong, "{line}");
        }
        let (_, options) = parse("--bad --profile qmail").unwrap_err();
        assert_eq!(options.profile, Some(Profile::Qmail));
    }
}
