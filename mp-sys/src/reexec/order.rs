//! The parent's first packet: what the child must run.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | [`MAGIC`], with the version of the format |
//! | 8 | the offset of the entry |
//! | 8 | the offset of this copy of the module, see [`Order::anchor`] |
//! | 1, n | the length of the image's id, and the id |
//! | rest | the title of the process |
//!
//! It carries one descriptor, the parent's pidfd.

use super::image::Id;
use crate::socket::OVERHEAD_BYTES;

/// The start of `argv[0]`, as cheap to check as possible. The order then shows whether a `Command` started the process.
pub(super) const MARK: &[u8] = b"mp: ";
/// The most bytes of a program's name in a title: the longest name of a file.
pub(super) const PROGRAM_BYTES_MAX: usize = 255;
/// The most bytes of the packet in total.
pub(super) const PACKET_BYTES_MAX: usize =
    OVERHEAD_BYTES + 3 * 8 + 1 + Id::BYTES_MAX + PROGRAM_BYTES_MAX + SEPARATOR.len() + super::LABEL_BYTES_MAX;

const MAGIC: u64 = u64::from_be_bytes(*b"mporder1");
/// Separates the program's name from the label in a title. It is as long as what it replaces in `argv[0]`: [`MARK`] and
/// a space.
const SEPARATOR: &str = ": mp ";

/// What the child must run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    /// The image that the offsets belong to.
    pub(super) id: Id,
    /// The function's offset.
    pub(super) entry: u64,
    /// The offset of the `.init_array` entry that must take the child over. A program may contain several versions of
    /// this crate, and only the one that sent the order knows what the function expects.
    pub(super) anchor: u64,
    /// What `ps` shows.
    pub(super) title: String,
}

impl Order {
    /// Encodes the packet, with room for its head.
    pub(super) fn to_packet(&self) -> Vec<u8> {
        let mut packet = vec![0; OVERHEAD_BYTES];
        for number in [MAGIC, self.entry, self.anchor] {
            packet.extend_from_slice(&number.to_le_bytes());
        }
        let id = self.id.as_bytes();
        // An id has at most `Id::BYTES_MAX` bytes.
        packet.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
        packet.extend_from_slice(id);
        packet.extend_from_slice(self.title.as_bytes());
        packet
    }

    /// Reads a packet from any sender; returns `None` if it is not an order.
    pub(super) fn of_packet(packet: &[u8]) -> Option<Self> {
        let mut rest = packet.get(OVERHEAD_BYTES..)?;
        let mut number = || {
            let (number, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u64::from_le_bytes(*number))
        };
        let (magic, entry, anchor) = (number()?, number()?, number()?);
        let (id_len, rest) = rest.split_first()?;
        let (id, title) = rest.split_at_checked(usize::from(*id_len))?;
        let order =
            Self { id: Id::of_bytes(id)?, entry, anchor, title: String::from_utf8(title.to_vec()).ok()? };
        (magic == MAGIC).then_some(order)
    }
}

/// `argv[0]` of the child, and the title that replaces it. Both have the same length.
pub(super) fn names(program: &str, label: &str) -> (String, String) {
    let end = (0..=PROGRAM_BYTES_MAX).rev().find(|end| program.is_char_boundary(*end)).unwrap_or(0);
    let program = program.get(..end).unwrap_or_default();
    (format!("mp: {program} {label}"), format!("{program}{SEPARATOR}{label}"))
}

/// The program's name in a title.
pub(super) fn program_of(title: &str) -> &str {
    title.split_once(SEPARATOR).map_or(title, |(program, _)| program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        let (argument, title) = names("prog", "manager");
        assert!(argument.as_bytes().starts_with(MARK));
        assert_eq!(argument.len(), title.len());
        Order { id: Id::of_bytes(&[7; Id::BYTES_MAX]).unwrap(), entry: 1, anchor: u64::MAX, title }
    }

    #[test]
    fn an_order_arrives_and_other_packets_are_not_orders() {
        let packet = order().to_packet();
        assert_eq!(Order::of_packet(&packet), Some(order()));
        let shortest = packet.len() - order().title.len();
        for len in 0..shortest {
            assert_eq!(Order::of_packet(&packet[..len]), None, "{len}");
        }
        for at in OVERHEAD_BYTES..OVERHEAD_BYTES + 8 {
            let mut other = packet.clone();
            other[at] ^= 1;
            assert_eq!(Order::of_packet(&other), None, "{at}");
        }
    }

    #[test]
    fn the_longest_names_fit_into_the_packet() {
        let (_, title) =
            names(&"p".repeat(PROGRAM_BYTES_MAX + 1), &"l".repeat(crate::reexec::LABEL_BYTES_MAX));
        assert_eq!(program_of(&title).len(), PROGRAM_BYTES_MAX);
        assert_eq!(Order { title, ..order() }.to_packet().len(), PACKET_BYTES_MAX);
        assert_eq!(program_of(&order().title), "prog");
    }
}
