//! [`Words`]: commands in the form in which Redis receives them.
//!
//! A command is an array of texts, each after its length. They are written once, into one buffer, because a call would otherwise spend more
//! time on its texts than Redis does on the call.

/// The most digits of a number.
const DIGITS_MAX: usize = 20;
/// Room for the keys of most objects, or most arguments, in bytes.
const USUAL_BYTES: usize = 192;
/// Room for what stands before the words of most commands, in bytes.
const START_BYTES: usize = 96;

/// Some words of a command.
#[derive(Debug)]
pub(super) struct Words {
    count: usize,
    bytes: Vec<u8>,
}

impl Words {
    pub(super) fn new() -> Self {
        Self { count: 0, bytes: Vec::with_capacity(USUAL_BYTES) }
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Adds a word that consists of these parts.
    pub(super) fn add(&mut self, parts: &[&[u8]]) {
        let len = parts.iter().fold(0_usize, |len, part| len.saturating_add(part.len()));
        number_after(b'$', len, &mut self.bytes);
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.extend_from_slice(b"\r\n");
        self.count = self.count.saturating_add(1);
    }

    /// Adds a word that consists of these parts, a number, and other parts.
    pub(super) fn add_around(&mut self, before: &[&[u8]; 2], number: u64, after: &[u8]) {
        let mut room = [0; DIGITS_MAX];
        let [first, second] = before;
        self.add(&[first, second, digits(number, &mut room), after]);
    }
}

/// Returns the command that consists of these words.
pub(super) fn packed(words: &[&Words]) -> Vec<u8> {
    let count = words.iter().fold(0_usize, |count, words| count.saturating_add(words.count));
    let bytes = words.iter().fold(START_BYTES, |bytes, words| bytes.saturating_add(words.bytes.len()));
    let mut packed = Vec::with_capacity(bytes);
    number_after(b'*', count, &mut packed);
    words.iter().for_each(|words| packed.extend_from_slice(&words.bytes));
    packed
}

fn number_after(mark: u8, number: usize, into: &mut Vec<u8>) {
    let mut room = [0; DIGITS_MAX];
    into.push(mark);
    into.extend_from_slice(digits(u64::try_from(number).unwrap_or(u64::MAX), &mut room));
    into.extend_from_slice(b"\r\n");
}

/// Returns the decimal digits of a number.
fn digits(number: u64, room: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let (mut left, mut count) = (number, 0_usize);
    for digit in room.iter_mut().rev() {
        *digit = b'0' | u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        count = count.saturating_add(1);
        if left == 0 {
            break;
        }
    }
    room.get(DIGITS_MAX.saturating_sub(count)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_that_the_crate_writes() {
        let (mut name, mut rest) = (Words::new(), Words::new());
        name.add(&[b"SET"]);
        rest.add_around(&[b"{ns}:", b"o:"], u64::MAX, b":v");
        rest.add(&[b"", b"value\r\n", b"\0"]);
        rest.add(&[]);
        let mut expected = redis::cmd("SET");
        expected.arg("{ns}:o:18446744073709551615:v").arg(b"value\r\n\0").arg("");
        assert_eq!(packed(&[&name, &rest]), expected.get_packed_command());
    }

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX - 1, u64::MAX] {
            let mut room = [0; DIGITS_MAX];
            assert_eq!(digits(number, &mut room), number.to_string().as_bytes());
        }
    }
}
