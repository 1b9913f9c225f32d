//! Encrypting a stream between hosts: the Noise protocol with a shared key, without input and output.
//!
//! Both sides prove that they have the key, and nothing is sent in clear. The pattern is `NNpsk0`: two messages with fresh keys
//! of X25519, and the shared key in the first one. So a recorded stream cannot be read even by somebody who later finds out
//! the key, and a server answers nobody who does not have it.
//!
//! A guessed key could be tested against a recorded first message, without anybody noticing. So keys of fewer than
//! [`REMOTE_KEY_BYTES_MIN`] bytes are refused.
//!
//! snow checks neither that the pattern has a place for the key nor that a key was set, so both are constants here, and a
//! test makes sure that unequal keys do not agree.
//!
//! Source: the Noise Protocol Framework, revision 34; the crate `snow`.

use mp_sys::key::{DERIVED_BYTES, Key};
use snow::{Builder, HandshakeState, StatelessTransportState};
use zeroize::Zeroizing;

use crate::limits::{RECORD_BYTES_MAX, REMOTE_KEY_BYTES_MIN};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
/// The place of the shared key in the pattern.
const PSK_PLACE: u8 = 0;
/// What both sides begin with. It changes when the format of the stream does.
const PROLOGUE: &[u8] = b"mp manager over tcp, 1";
/// What the shared key is derived for.
const PURPOSE: &[u8] = b"mp manager over tcp, 1: key of NNpsk0";

/// The length of the mark by which a receiver knows that nothing was changed, in bytes.
pub(super) const TAG_BYTES: usize = 16;
/// The length of each message of the handshake, in bytes: a public key, and a tag.
pub(super) const HELLO_BYTES: usize = 32 + TAG_BYTES;
/// The longest sealed record, in bytes.
pub(super) const SEALED_BYTES_MAX: usize = RECORD_BYTES_MAX + TAG_BYTES;

/// The other side does not have the key, or somebody changed what it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forged;

impl From<snow::Error> for Forged {
    fn from(error: snow::Error) -> Self {
        tracing::debug!(%error, "a peer between hosts is refused");
        Self
    }
}

/// The key is too short to be used between hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooShort {
    /// The length of the key, in bytes.
    pub(crate) bytes: usize,
}

/// A key in the form in which it protects a stream.
pub(crate) struct SharedKey(Zeroizing<[u8; DERIVED_BYTES]>);

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

impl SharedKey {
    /// Derives the key.
    ///
    /// # Errors
    /// [`TooShort`].
    pub(crate) fn of(key: &Key) -> Result<Self, TooShort> {
        match key.as_bytes().len() {
            bytes @ ..REMOTE_KEY_BYTES_MIN => Err(TooShort { bytes }),
            _ => Ok(Self(key.derived(PURPOSE))),
        }
    }
}

fn state(key: &SharedKey, initiates: bool) -> Result<HandshakeState, Forged> {
    let builder = Builder::new(PATTERN.parse()?).prologue(PROLOGUE)?.psk(PSK_PLACE, &key.0)?;
    Ok(if initiates { builder.build_initiator()? } else { builder.build_responder()? })
}

fn write(state: &mut HandshakeState) -> Result<[u8; HELLO_BYTES], Forged> {
    let mut hello = [0; HELLO_BYTES];
    match state.write_message(&[], &mut hello)? {
        HELLO_BYTES => Ok(hello),
        _ => Err(Forged),
    }
}

/// The side that connects, until it has the other one's answer.
#[derive(Debug)]
pub(super) struct Initiator(HandshakeState);

impl Initiator {
    /// Begins a handshake, and returns its first message.
    ///
    /// # Errors
    /// [`Forged`], if the system has no random bytes.
    pub(super) fn new(key: &SharedKey) -> Result<(Self, [u8; HELLO_BYTES]), Forged> {
        let mut state = state(key, true)?;
        let hello = write(&mut state)?;
        Ok((Self(state), hello))
    }

    /// Takes the answer of the other side.
    ///
    /// # Errors
    /// [`Forged`].
    pub(super) fn finish(mut self, answer: &[u8; HELLO_BYTES]) -> Result<Cipher, Forged> {
        self.0.read_message(answer, &mut [])?;
        Ok(Cipher(self.0.into_stateless_transport_mode()?))
    }
}

/// Answers the first message of a side that connects, which has one of these keys. Returns the number of that key, the
/// answer, and what encrypts the stream.
///
/// # Errors
/// [`Forged`], if it has none of them.
pub(super) fn answer(
    keys: &[SharedKey],
    hello: &[u8; HELLO_BYTES],
) -> Result<(usize, [u8; HELLO_BYTES], Cipher), Forged> {
    for (number, key) in keys.iter().enumerate() {
        let mut state = state(key, false)?;
        if state.read_message(hello, &mut []).is_ok() {
            let answer = write(&mut state)?;
            return Ok((number, answer, Cipher(state.into_stateless_transport_mode()?)));
        }
    }
    Err(Forged)
}

/// Encrypts what one side sends, and decrypts what it receives. The caller counts the records of each direction.
#[derive(Debug)]
pub(super) struct Cipher(StatelessTransportState);

impl Cipher {
    /// Seals a record of at most [`RECORD_BYTES_MAX`] bytes into a buffer, and returns its length. A number must not be
    /// used for two records of which the first was sent, even in part.
    ///
    /// # Errors
    /// [`Forged`], if the record or its number is too large, or the buffer too small.
    pub(super) fn seal(&self, number: u64, record: &[u8], into: &mut [u8]) -> Result<usize, Forged> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(Forged);
        }
        Ok(self.0.write_message(number, record, into)?)
    }

    /// Opens a sealed record into a buffer, and returns its length.
    ///
    /// # Errors
    /// [`Forged`]. What is in the buffer then means nothing, and is overwritten.
    pub(super) fn open(&self, number: u64, sealed: &[u8], into: &mut [u8]) -> Result<usize, Forged> {
        self.0.read_message(number, sealed, into).map_err(|error| {
            into.fill(0);
            error.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SharedKey {
        SharedKey::of(&Key::from([byte; REMOTE_KEY_BYTES_MIN])).unwrap()
    }

    fn meet(client: &SharedKey, server: &[SharedKey]) -> Result<(usize, Cipher, Cipher), Forged> {
        let (initiator, hello) = Initiator::new(client)?;
        let (number, answer, servers) = answer(server, &hello)?;
        Ok((number, initiator.finish(&answer)?, servers))
    }

    #[test]
    fn sides_with_one_key_understand_each_other_in_both_directions() {
        let (number, client, server) = meet(&key(2), &[key(1), key(2)]).unwrap();
        assert_eq!(number, 1, "the second of the accepted keys");
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (mut sealed, mut opened) = ([0; 64], [0; 64]);
            let sealed_len = from.seal(7, b"hello", &mut sealed).unwrap();
            assert_eq!(sealed_len, 5 + TAG_BYTES);
            assert!(!sealed.windows(5).any(|part| part == b"hello"));
            let len = to.open(7, &sealed[..sealed_len], &mut opened).unwrap();
            assert_eq!(&opened[..len], b"hello");
        }
    }

    #[test]
    fn sides_with_different_keys_do_not_agree() {
        assert_eq!(meet(&key(1), &[key(2)]).unwrap_err(), Forged);
        assert_eq!(meet(&key(1), &[]).unwrap_err(), Forged);
        // A server without the key cannot make up an answer either.
        let (initiator, _) = Initiator::new(&key(1)).unwrap();
        let (_, other_hello) = Initiator::new(&key(2)).unwrap();
        let (_, others_answer, _) = answer(&[key(2)], &other_hello).unwrap();
        assert_eq!(initiator.finish(&others_answer).unwrap_err(), Forged);
    }

    #[test]
    fn a_key_has_at_least_32_bytes() {
        assert_eq!(REMOTE_KEY_BYTES_MIN, 32);
        for (len, expected) in [(0, false), (31, false), (32, true), (2_048, true)] {
            let shared = SharedKey::of(&Key::from(vec![1; len]));
            assert_eq!(shared.is_ok(), expected, "{len} bytes");
        }
        assert_eq!(SharedKey::of(&Key::from([1; 31])).unwrap_err(), TooShort { bytes: 31 });
    }

    #[test]
    fn no_changed_bit_of_the_handshake_gets_through() {
        let keys = [key(1)];
        for byte in 0..HELLO_BYTES {
            let (initiator, mut hello) = Initiator::new(&keys[0]).unwrap();
            let (_, mut good, _) = answer(&keys, &hello).unwrap();
            good[byte] ^= 1;
            assert_eq!(initiator.finish(&good).unwrap_err(), Forged, "byte {byte} of the answer");
            hello[byte] ^= 1;
            assert_eq!(answer(&keys, &hello).unwrap_err(), Forged, "byte {byte} of the first message");
        }
    }

    #[test]
    fn a_record_is_opened_unchanged_and_under_its_number_only() {
        let (_, client, server) = meet(&key(1), &[key(1)]).unwrap();
        let mut sealed = [0; 32];
        let len = client.seal(3, b"record", &mut sealed).unwrap();
        let sealed = &sealed[..len];
        for number in [2, 4] {
            assert_eq!(server.open(number, sealed, &mut [0; 32]).unwrap_err(), Forged);
        }
        for byte in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[byte] ^= 0x80;
            let mut into = [7; 32];
            assert_eq!(server.open(3, &changed, &mut into).unwrap_err(), Forged);
            assert_eq!(into, [0; 32], "nothing forged is left in the buffer");
        }
        assert_eq!(server.open(3, &sealed[..TAG_BYTES - 1], &mut [0; 32]).unwrap_err(), Forged);
        // What a side sent cannot be played back to it.
        assert_eq!(client.open(3, sealed, &mut [0; 32]).unwrap_err(), Forged);
        assert_eq!(server.open(3, sealed, &mut [0; 32]), Ok(6));
    }

    #[test]
    fn the_longest_record_can_be_sealed_and_a_longer_one_cannot() {
        let (_, client, server) = meet(&key(1), &[key(1)]).unwrap();
        let mut sealed = vec![0; SEALED_BYTES_MAX + 1];
        let len = client.seal(0, &[1; RECORD_BYTES_MAX], &mut sealed).unwrap();
        assert_eq!(len, SEALED_BYTES_MAX);
        assert_eq!(server.open(0, &sealed[..len], &mut vec![0; RECORD_BYTES_MAX]), Ok(RECORD_BYTES_MAX));
        assert_eq!(client.seal(1, &[1; RECORD_BYTES_MAX + 1], &mut sealed).unwrap_err(), Forged);
    }

    #[test]
    fn two_handshakes_with_one_key_share_no_bytes() {
        let (_, first) = Initiator::new(&key(1)).unwrap();
        let (_, second) = Initiator::new(&key(1)).unwrap();
        assert_ne!(first, second);
        // Played back, a first message leads to another stream, which only its maker could use.
        let (_, one, _) = answer(&[key(1)], &first).unwrap();
        let (_, other, _) = answer(&[key(1)], &first).unwrap();
        assert_ne!(one, other);
    }
}
