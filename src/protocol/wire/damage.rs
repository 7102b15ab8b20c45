//! What is wrong with a frame that did not come through whole, as far as counting can tell: a CRC says that something
//! is wrong, but not where.

use std::fmt;

/// Symbols of a full line.
pub const LINE: usize = 50;

/// What was counted after a marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// How many symbols the frame says it has; `None` if its first symbols are themselves damaged.
    pub expected: Option<usize>,
    /// How many there are, before the next marker or the end of the text.
    pub found: usize,
    /// The first line, counted from 1, that does not have the symbols of a full one, and how many it has; `None` if
    /// lines were not kept.
    pub line: Option<(usize, usize)>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, found, .. } = self;
        match expected {
            None => f.write_str("its first symbols are wrong, so nothing is known of the rest")?,
            Some(expected) if found < expected => {
                let lost = expected.saturating_sub(*found);
                let verb = if lost == 1 { "is" } else { "are" };
                write!(f, "{lost} of its {expected} symbols {verb} missing")?;
            }
            Some(expected) if found == expected => {
                write!(f, "none of its {expected} symbols is missing, but some are changed")?;
            }
            Some(expected) => {
                write!(f, "it has {found} symbols instead of {expected}, or some are changed")?;
            }
        }
        match self.line {
            Some((line, symbols)) => write!(f, "; its line {line} has {symbols} instead of {LINE}"),
            None => Ok(()),
        }
    }
}

/// Finds the first odd line, if lines were kept as they were written: all but one or two, and the last, are full.
#[must_use]
pub fn odd_line(symbols_of_lines: &[usize]) -> Option<(usize, usize)> {
    let (_, lines) = symbols_of_lines.split_last()?;
    let full = lines.iter().filter(|symbols| **symbols == LINE).count();
    let at = lines.iter().position(|symbols| *symbols != LINE)?;
    let kept = full >= 2 && lines.len().saturating_sub(full) <= 2;
    kept.then(|| Some((at.checked_add(1)?, *lines.get(at)?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_line_is_told_only_where_lines_were_kept() {
        for (lines, expected) in [
            (&[50, 50, 50, 50, 31][..], None),
            (&[50, 50, 49, 50, 31], Some((3, 49))),
            (&[47, 50, 50, 50, 31], Some((1, 47))),
            (&[40, 40, 40, 40, 40, 31], None),
            (&[50, 50, 50, 40, 40, 40, 31], None),
            (&[50, 40, 31], None),
            (&[231], None),
            (&[], None),
        ] {
            assert_eq!(odd_line(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn counting_tells_lost_changed_and_surplus_symbols_apart() {
        let says = |expected, found| Damage { expected, found, line: None }.to_string();
        assert_eq!(says(Some(236), 235), "1 of its 236 symbols is missing");
        let changed = "none of its 236 symbols is missing, but some are changed";
        assert_eq!(says(Some(236), 236), changed);
        assert!(says(Some(236), 240).contains("240 symbols instead of 236"));
        assert!(says(None, 240).contains("first symbols"));
    }
}
