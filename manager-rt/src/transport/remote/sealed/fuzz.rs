//! Sealed streams that somebody on the way changes, for fuzzers.

use std::sync::OnceLock;

use mp_sys::key::Key;

use super::{LENGTH_BYTES, Opener, SENT_BYTES_MAX, record_bytes_max};
use crate::transport::remote::noise::{Cipher, HELLO_BYTES, Initiator, SharedKey, answer};

/// The most records of one input.
const RECORDS_MAX: usize = 32;

/// The two sides of a stream. Making them takes longer than using them.
struct Sides {
    key: [SharedKey; 1],
    sender: Cipher,
    receiver: Cipher,
}

fn sides() -> Option<&'static Sides> {
    static SIDES: OnceLock<Option<Sides>> = OnceLock::new();
    let make = || {
        let key = SharedKey::of(&Key::from([7; 32])).ok()?;
        let (initiator, hello) = Initiator::new(&key).ok()?;
        let key = [key];
        let (_, reply, receiver) = answer(&key, &hello).ok()?;
        Some(Sides { key, sender: initiator.finish(&reply).ok()?, receiver })
    };
    SIDES.get_or_init(make).as_ref()
}

/// Takes the input as the first message of a side that connects. Without the key, nobody is answered.
///
/// # Panics
/// If it is accepted, which is a finding.
pub(crate) fn hellos(input: &[u8]) {
    let Some(Sides { key, .. }) = sides() else { return };
    if let Some(hello) = input.first_chunk::<HELLO_BYTES>() {
        assert!(answer(key, hello).is_err(), "a message without the key was answered");
    }
}

/// Seals records of lengths that the input chooses, changes, repeats or leaves out some of them, and opens the rest in
/// pieces and into buffers whose lengths the input chooses as well.
///
/// # Panics
/// If anything but the beginning of what was sent is received, which is a finding.
pub(crate) fn records(input: &[u8]) {
    let Some(Sides { sender, receiver, .. }) = sides() else { return };
    let mut choices = input.iter().copied().chain(std::iter::repeat(0));
    let mut next = || choices.next().unwrap_or(0);
    let count = usize::from(next()).min(RECORDS_MAX);
    let (mut wire, mut sent, mut is_changed) = (Vec::new(), Vec::new(), false);
    let mut sealed = vec![0; SENT_BYTES_MAX];
    for number in 0..count {
        let sequence = u64::try_from(number).unwrap_or(0);
        let len = (usize::from(next()) << 4 | usize::from(next())).max(1).min(record_bytes_max(sequence));
        let record = vec![next(); len];
        let Ok(len) = sender.seal(sequence, &record, &mut sealed) else { return };
        let mut one = u16::try_from(len).unwrap_or(0).to_le_bytes().to_vec();
        one.extend_from_slice(sealed.get(..len).unwrap_or_default());
        if !is_changed {
            sent.extend_from_slice(&record);
        }
        let before = sent.len().saturating_sub(record.len());
        let change = next();
        match change {
            // Most records arrive as they were sent.
            0..=199 => {}
            200..=219 => {
                let place = usize::from(next()) << 8 | usize::from(next());
                let place = place.checked_rem(one.len()).unwrap_or(0);
                if let Some(byte) = one.get_mut(place) {
                    *byte ^= next().max(1);
                }
            }
            220..=235 => one = Vec::new(),
            _ => one.extend_from_within(..),
        }
        if change >= 200 && !is_changed {
            is_changed = true;
            // A record that comes twice is good the first time.
            sent.truncate(if change > 235 { sent.len() } else { before });
        }
        wire.extend_from_slice(&one);
    }
    let received = open_all(receiver, &wire, &mut next);
    assert!(sent.starts_with(&received), "something else than was sent is received");
    assert!(is_changed || received == sent, "what was sent is not received");
}

/// Opens all that can be opened.
fn open_all(receiver: &Cipher, wire: &[u8], next: &mut impl FnMut() -> u8) -> Vec<u8> {
    let (mut opener, mut received) = (Opener::default(), Vec::new());
    let piece = usize::from(next()).saturating_mul(16).max(1);
    for piece in wire.chunks(piece) {
        let mut place = vec![0; usize::from(next()).saturating_mul(8).max(1)];
        let mut bytes = std::mem::take(&mut opener.unfinished);
        bytes.extend_from_slice(piece);
        assert!(bytes.len() <= SENT_BYTES_MAX.saturating_add(piece.len()), "more than a record is kept");
        let Ok(filled) = opener.open(receiver, &bytes, &mut place) else { return received };
        received.extend_from_slice(place.get(..filled).unwrap_or_default());
        loop {
            let filled = opener.take(&mut place);
            received.extend_from_slice(place.get(..filled).unwrap_or_default());
            if filled == 0 {
                break;
            }
        }
    }
    received
}

/// Inputs whose records arrive unchanged, in several lengths.
pub(crate) fn record_seeds() -> Vec<Vec<u8>> {
    let record = |byte: u8, high: u8| [byte, high, 3, 0];
    vec![
        [&[3_u8][..], &record(1, 0), &record(2, 9), &record(3, 255), &[4, 9, 9, 9]].concat(),
        [&[1_u8][..], &record(1, 1), &[255, 1]].concat(),
    ]
}

/// A message of the right length.
pub(crate) fn hello_seeds() -> Vec<Vec<u8>> {
    vec![vec![0; HELLO_BYTES], vec![0; LENGTH_BYTES]]
}
