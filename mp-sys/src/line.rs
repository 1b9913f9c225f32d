//! The text that `Debug` of an object writes: its state, in one line that is short enough for a log.
//!
//! The text is the same for `{:?}` and `{:#?}`. A user's values may be long, and their `Debug` may have several lines, so
//! [`Short`] cuts them off and removes the line ends. Nothing here waits, takes a lock, or shows an address.

use std::fmt::{self, Debug, Display, Write};

/// The most characters that an object writes.
pub const LINE_CHARS_MAX: usize = 99;
/// The most characters of one value or name in a line. Two of them fit, with the text around them.
pub const VALUE_CHARS_MAX: usize = 36;

/// Shows the beginning of a value's `Debug`: at most [`VALUE_CHARS_MAX`] characters in one line. `…` stands for the rest.
#[derive(Clone, Copy)]
pub struct Short<'a, T: ?Sized>(pub &'a T);

impl<T: Debug + ?Sized> Display for Short<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cut = Cut::default();
        // This never returns an error, because some implementations of `Debug` handle errors badly.
        write!(cut, "{:?}", self.0)?;
        f.write_str(&cut.text)
    }
}

impl<T: Debug + ?Sized> Debug for Short<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// Keeps the beginning of the text that is written to it.
#[derive(Debug, Default)]
struct Cut {
    text: String,
    chars: usize,
}

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.chars > VALUE_CHARS_MAX {
                break;
            }
            if self.chars == VALUE_CHARS_MAX {
                // The mark replaces the last character that fits.
                self.text.pop();
                self.text.push('…');
            } else {
                self.text.push(if c.is_control() { ' ' } else { c });
            }
            self.chars = self.chars.saturating_add(1);
        }
        Ok(())
    }
}

/// A number and what it counts: `1 item`, `2 items`.
#[derive(Debug, Clone, Copy)]
pub struct Count(pub usize, pub &'static str);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, what) = *self;
        write!(f, "{number} {what}{}", if number == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_at_the_limit_and_one_above() {
        let of = |chars: usize| Short(&"x".repeat(chars)).to_string();
        // The quotation marks are two of the characters.
        assert_eq!(of(VALUE_CHARS_MAX - 2), format!("{:?}", "x".repeat(VALUE_CHARS_MAX - 2)));
        let cut = of(VALUE_CHARS_MAX - 1);
        assert_eq!((cut.chars().count(), cut.ends_with("x…")), (VALUE_CHARS_MAX, true));
        assert_eq!(of(10_000), cut);
    }

    #[test]
    fn a_value_has_one_line() {
        #[derive(Debug)]
        struct Lines;
        struct Shown;
        impl Debug for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a\nb\t{Lines:#?}")
            }
        }
        assert_eq!(format!("{:#?}", Short(&Shown)), "a b Lines");
        assert_eq!(format!("{:#?}", Short(&vec![1, 2])), "[1, 2]");
    }

    #[test]
    fn counts_agree_with_their_nouns() {
        assert_eq!([0, 1, 2].map(|n| Count(n, "item").to_string()), ["0 items", "1 item", "2 items"]);
    }
}
