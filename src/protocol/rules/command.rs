//! What may be run: argv templates that no request can widen, and the types of their arguments.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::protocol::id::Id;

/// When the result of a command is mailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// When it has ended.
    After,
    /// Before it starts, and again if the machine is still there: for commands that end the machine.
    Before,
}

/// The account that a command runs under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// All group ids, the primary one among them.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
    /// Login shell: for the environment only, nothing is started with it.
    pub shell: String,
}

/// One command of the configuration.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its name in requests.
    pub id: Id,
    /// What is executed: an absolute program first.
    pub run: Vec<Word>,
    /// A type for each placeholder.
    pub arguments: BTreeMap<String, Argument>,
    /// How long it may run before its process group is sent SIGTERM.
    pub timeout: Duration,
    /// How long after that before it is sent SIGKILL.
    pub grace: Duration,
    /// How many octets of output are mailed.
    pub output_limit: usize,
    /// Whose rights it has.
    pub account: Account,
    /// Where it starts.
    pub cwd: String,
    /// Added to the environment, which is built from nothing.
    pub env: BTreeMap<String, String>,
    /// When it is answered.
    pub answer: Answering,
    /// How old a request may be.
    pub max_age: Option<Duration>,
    /// Whether its programs are kept from gaining rights, as sudo would have to.
    pub no_new_privileges: bool,
    /// One line for `help`.
    pub description: Option<String>,
    /// Why it cannot be run on this machine now, if it cannot.
    pub fault: Option<String>,
}

/// One word of an argv template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// As it stands.
    Literal(String),
    /// `{name}`: replaced, as a whole word, by an argument.
    Placeholder(String),
}

impl Word {
    /// Reads one word: `{name}` is a placeholder, a brace anywhere else is a mistake.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match name {
            Some(name) => Id::new(name).map(|_| Self::Placeholder(name.to_owned())),
            None => (!text.contains(['{', '}'])).then(|| Self::Literal(text.to_owned())),
        }
    }
}

/// The type of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Exactly one of these.
    OneOf(Vec<String>),
    /// A decimal number without leading zeros.
    Int {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// One or more of these characters.
    Word {
        /// The characters allowed.
        chars: Vec<char>,
        /// The most characters.
        max: usize,
    },
    /// A host name (RFC 1123 section 2.1).
    Hostname,
    /// An IPv4 or IPv6 address.
    Ip,
    /// Any characters but control characters.
    Text {
        /// The most characters.
        max: usize,
    },
}

/// Why arguments do not fit a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// An argument is missing; its name.
    Missing(String),
    /// There are more arguments than placeholders.
    Extra,
    /// An argument does not match its type; its name.
    Mismatch(String),
}

impl Command {
    /// Puts `words` in the places of the placeholders: the n-th word replaces the n-th distinct placeholder.
    ///
    /// # Errors
    /// [`Misfit`] if a word is missing, left over or does not match its type.
    pub fn argv(&self, words: &[String]) -> Result<Vec<String>, Misfit> {
        let names = self.placeholders();
        if let Some(missing) = names.get(words.len()) {
            return Err(Misfit::Missing((*missing).to_owned()));
        }
        if words.len() > names.len() {
            return Err(Misfit::Extra);
        }
        let given: BTreeMap<&str, &String> = names.into_iter().zip(words).collect();
        for (name, word) in &given {
            if !self.arguments.get(*name).is_some_and(|argument| argument.admits(word)) {
                return Err(Misfit::Mismatch((*name).to_owned()));
            }
        }
        let replaced = self.run.iter().map(|word| match word {
            Word::Literal(text) => Some(text.clone()),
            Word::Placeholder(name) => given.get(name.as_str()).map(|word| (*word).clone()),
        });
        replaced.collect::<Option<_>>().ok_or(Misfit::Extra)
    }

    /// The distinct placeholders in the order of `run`.
    #[must_use]
    pub fn placeholders(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for word in &self.run {
            if let Word::Placeholder(name) = word
                && !names.contains(&name.as_str())
            {
                names.push(name.as_str());
            }
        }
        names
    }
}

impl Argument {
    /// How `help` shows an argument of this type that is called `name`.
    #[must_use]
    pub fn usage(&self, name: &str) -> String {
        match self {
            Self::OneOf(words) => words.join("|"),
            Self::Int { min, max } => format!("{min}..{max}"),
            Self::Word { .. } | Self::Text { .. } => name.to_uppercase(),
            Self::Hostname => "HOSTNAME".to_owned(),
            Self::Ip => "IP".to_owned(),
        }
    }

    /// Whether `word` matches this type. A leading `-` does not unless the type names it; NUL and line ends never do.
    #[must_use]
    pub fn admits(&self, word: &str) -> bool {
        if word.contains(char::is_control) {
            return false;
        }
        let option_like = word.starts_with('-');
        match self {
            Self::OneOf(words) => words.iter().any(|one| one == word),
            Self::Int { min, max } => word
                .parse::<i64>()
                .is_ok_and(|n| (min..=max).contains(&&n) && n.to_string() == word),
            Self::Word { chars, max } => {
                !option_like
                    && (1..=*max).contains(&word.chars().count())
                    && word.chars().all(|c| chars.contains(&c))
            }
            Self::Hostname => is_hostname(word),
            Self::Ip => word.parse::<IpAddr>().is_ok(),
            Self::Text { max } => !option_like && word.chars().count() <= *max,
        }
    }
}

/// Reads a set such as `a-z0-9.-`: ranges and single characters; a `-` at either end is itself.
#[must_use]
pub fn character_set(text: &str) -> Option<Vec<char>> {
    let mut set = Vec::new();
    let mut rest = text.chars();
    while let Some(first) = rest.next() {
        let mut ahead = rest.clone();
        match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) if first <= last => {
                set.extend(first..=last);
                rest = ahead;
            }
            (Some('-'), Some(_)) => return None,
            _ => set.push(first),
        }
    }
    (!set.is_empty() && !set.iter().any(|c| c.is_control())).then_some(set)
}

fn is_hostname(word: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
    };
    word.len() <= 253 && word.split('.').all(label)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::protocol) fn command(id: &str, run: &[&str]) -> Command {
        Command {
            id: Id::new(id).unwrap(),
            run: run.iter().map(|word| Word::parse(word).unwrap()).collect(),
            arguments: BTreeMap::new(),
            timeout: Duration::from_secs(60),
            grace: Duration::from_secs(5),
            output_limit: 65536,
            account: Account {
                name: "nobody".into(),
                uid: 65534,
                gid: 65534,
                groups: vec![65534],
                home: "/".into(),
                shell: "/bin/sh".into(),
            },
            cwd: "/".into(),
            env: BTreeMap::new(),
            answer: Answering::After,
            max_age: None,
            no_new_privileges: true,
            description: None,
            fault: None,
        }
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_nth_word_is_the_nth_distinct_placeholder() {
        let mut copy = command("copy", &["/bin/x", "{to}", "-f", "{from}", "{to}"]);
        copy.arguments.insert("to".into(), Argument::Ip);
        copy.arguments.insert("from".into(), Argument::Hostname);
        let argv = copy.argv(&words(&["::1", "web1"])).unwrap();
        assert_eq!(argv, ["/bin/x", "::1", "-f", "web1", "::1"]);
        assert_eq!(copy.argv(&words(&["::1"])), Err(Misfit::Missing("from".into())));
        assert_eq!(copy.argv(&words(&["::1", "a", "b"])), Err(Misfit::Extra));
        assert_eq!(copy.argv(&words(&["web1", "::1"])), Err(Misfit::Mismatch("from".into())));
    }

    #[test]
    fn a_brace_that_is_no_placeholder_is_a_mistake() {
        assert_eq!(Word::parse("{unit}"), Some(Word::Placeholder("unit".into())));
        for bad in ["{}", "{a b}", "a{b}", "{a}b", "}", "{A}"] {
            assert_eq!(Word::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn each_type_admits_what_it_names_and_nothing_else() {
        let int = Argument::Int { min: -5, max: 100 };
        let word = Argument::Word { chars: character_set("a-z0-9.-").unwrap(), max: 8 };
        let text = Argument::Text { max: 5 };
        let one = Argument::OneOf(words(&["nginx", "-x"]));
        let cases: [(&Argument, &[&str], &[&str]); 6] = [
            (&one, &["nginx", "-x"], &["", "nginx ", "Nginx", "-y"]),
            (&int, &["-5", "0", "100"], &["", "-6", "101", "+1", "01", "1 ", "-0", "0x1", "٣"]),
            (&word, &["a", "web-1.x"], &["", "-a", "A", "a b", "a/b", "abcdefghi"]),
            (
                &Argument::Hostname,
                &["web1", "a.b-c.d"],
                &["", "-a", "a-", "a..b", "a_b", "a.", "ä"],
            ),
            (
                &Argument::Ip,
                &["1.2.3.4", "::1"],
                &["", "1.2.3", "1.2.3.4.5", "::1%lo", "1.2.3.4/8"],
            ),
            (&text, &["", "a b", "äöüßé"], &["-a", "a\nb", "a\0b", "\u{85}", "123456"]),
        ];
        for (argument, good, bad) in cases {
            for word in good {
                assert!(argument.admits(word), "{argument:?} {word:?}");
            }
            for word in bad {
                assert!(!argument.admits(word), "{argument:?} {word:?}");
            }
        }
    }

    #[test]
    fn no_type_admits_nul_or_a_line_end() {
        let all = Argument::OneOf(words(&["a\nb", "a\0b"]));
        assert!(!all.admits("a\nb") && !all.admits("a\0b"));
    }

    #[test]
    fn a_character_set_has_ranges_and_single_characters() {
        assert_eq!(character_set("a-c.-").unwrap(), ['a', 'b', 'c', '.', '-']);
        assert_eq!(character_set("-a").unwrap(), ['-', 'a']);
        for bad in ["", "z-a", "a\n"] {
            assert_eq!(character_set(bad), None, "{bad:?}");
        }
    }
}
