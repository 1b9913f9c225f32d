//! The handshake between a listener and a process that connects to it, without a socket: bytes in, bytes out.
//!
//! | step | who | bytes | what |
//! |---|---|---|---|
//! | hello | connecting | 64 | the protocol's magic number; its nonce; the types that it sends and receives; zeros |
//! | challenge | listening | 48 | the magic number; a verdict on the types; the listener's nonce |
//! | proof | connecting | 32 | HMAC over "connecting", both nonces and both types |
//! | verdict | listening | 40 | the verdict; HMAC over "listening" and the same. One end of a fresh connection comes with it |
//!
//! Both sides prove that they have the key, and neither sends it. A proof is valid only for these two nonces and this
//! direction. Without a key, both prove the empty one. The connecting side proves first, so that a stranger who connects
//! learns nothing that depends on the key. A step has a fixed length, so a peer cannot lie about a length. A peer that sends
//! more than its step, or anything else, is refused. A step that begins with another magic number is refused at its first
//! wrong byte, because the rest may never arrive.
//!
//! Source: the challenge of Python's `multiprocessing.connection`, whose two sides may use MD5.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const NONCE: usize = 32;
const PROOF: usize = 32;
const HELLO: usize = 64;
const CHALLENGE: usize = 48;
const VERDICT: usize = 40;
/// The longest step, which is the room that a side needs.
pub const STEP_BYTES_MAX: usize = HELLO;

/// Why a peer is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It does not speak this protocol.
    Malformed,
    /// It sends or receives other types.
    WrongType,
    /// It has another key.
    Unauthorised,
}

impl Refusal {
    fn to_byte(refused: Option<Self>) -> u8 {
        match refused {
            None => 0,
            Some(Self::Malformed) => 1,
            Some(Self::WrongType) => 2,
            Some(Self::Unauthorised) => 3,
        }
    }

    fn from_byte(byte: u8) -> Result<(), Self> {
        match byte {
            0 => Ok(()),
            2 => Err(Self::WrongType),
            3 => Err(Self::Unauthorised),
            _ => Err(Self::Malformed),
        }
    }
}

/// What both sides must agree on.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The magic number: it says which protocol follows the handshake, and in which format. Listeners of two protocols
    /// never mistake each other for a peer. The number is compared, but is not part of a proof. `sends` and `receives`,
    /// which are, show if the number of another protocol was changed on the way.
    pub magic: [u8; 8],
    /// The key that proves who may connect. It may have any length; an empty key lets everybody in.
    pub key: &'a [u8],
    /// What the listening side sends: a fingerprint of its type, or the version of a protocol.
    pub sends: u64,
    /// What the listening side receives, in the same way.
    pub receives: u64,
}

impl fmt::Debug for Terms<'_> {
    /// Shows the terms without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { magic, key: _, sends, receives } = self;
        f.debug_struct("Terms")
            .field("magic", magic)
            .field("sends", sends)
            .field("receives", receives)
            .finish_non_exhaustive()
    }
}

impl Terms<'_> {
    fn mac(&self, who: &[u8], connecting: &[u8; NONCE], listening: &[u8; NONCE]) -> Option<Hmac<Sha256>> {
        // HMAC accepts keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key).ok()?;
        mac.update(who);
        mac.update(connecting);
        mac.update(listening);
        mac.update(&self.sends.to_le_bytes());
        mac.update(&self.receives.to_le_bytes());
        Some(mac)
    }
}

/// Collects the bytes of one step, in whatever pieces they arrive.
#[derive(Debug)]
struct Inbox {
    bytes: [u8; STEP_BYTES_MAX],
    len: usize,
}

impl Inbox {
    const fn new() -> Self {
        Self { bytes: [0; STEP_BYTES_MAX], len: 0 }
    }

    /// Returns the step once it is complete; more bytes than that are refused.
    fn take<const STEP: usize>(&mut self, more: &[u8]) -> Result<Option<[u8; STEP]>, Refusal> {
        let end = self.len.saturating_add(more.len());
        if end > STEP {
            return Err(Refusal::Malformed);
        }
        let place = self.bytes.get_mut(self.len..end).ok_or(Refusal::Malformed)?;
        place.copy_from_slice(more);
        self.len = end;
        if end < STEP {
            return Ok(None);
        }
        self.len = 0;
        Ok(self.bytes.first_chunk().copied())
    }

    /// Works as [`take`](Self::take) does, for a step that begins with the magic number.
    fn take_first<const STEP: usize>(
        &mut self,
        magic: [u8; 8],
        more: &[u8],
    ) -> Result<Option<[u8; STEP]>, Refusal> {
        let step = self.take(more)?;
        let begun = self.bytes.iter().take(if step.is_some() { STEP } else { self.len });
        if begun.zip(magic).any(|(byte, expected)| *byte != expected) {
            return Err(Refusal::Malformed);
        }
        Ok(step)
    }
}

/// What a side does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It waits for more bytes.
    Wait,
    /// It sends this, and waits.
    Say(Vec<u8>),
    /// Both agree. The listening side sends this with the end of the connection; the connecting side sends nothing.
    Agree(Vec<u8>),
    /// It sends this, if it is not empty, and ends.
    Refuse(Vec<u8>, Refusal),
}

/// The listening side.
#[derive(Debug)]
pub struct Listening {
    inbox: Inbox,
    nonce: [u8; NONCE],
    /// The other side's nonce, after its hello.
    connecting: Option<[u8; NONCE]>,
}

impl Listening {
    /// Makes the listening side, with a nonce that cannot be guessed and is used only once.
    #[must_use]
    pub fn new(nonce: [u8; NONCE]) -> Self {
        Self { inbox: Inbox::new(), nonce, connecting: None }
    }

    /// Returns what to do after these bytes arrived.
    pub fn hear(&mut self, terms: Terms<'_>, bytes: &[u8]) -> Next {
        match self.connecting {
            None => self.hear_hello(terms, bytes),
            Some(connecting) => self.hear_proof(terms, connecting, bytes),
        }
    }

    fn hear_hello(&mut self, terms: Terms<'_>, bytes: &[u8]) -> Next {
        let hello: [u8; HELLO] = match self.inbox.take_first(terms.magic, bytes) {
            Ok(Some(hello)) => hello,
            Ok(None) => return Next::Wait,
            Err(refusal) => return self.challenge(terms.magic, Some(refusal)),
        };
        let Some((nonce, sends, receives)) = parse_hello(&hello) else {
            return self.challenge(terms.magic, Some(Refusal::Malformed));
        };
        if (sends, receives) != (terms.receives, terms.sends) {
            return self.challenge(terms.magic, Some(Refusal::WrongType));
        }
        self.connecting = Some(nonce);
        self.challenge(terms.magic, None)
    }

    fn challenge(&self, magic: [u8; 8], refused: Option<Refusal>) -> Next {
        let verdict = [Refusal::to_byte(refused), 0, 0, 0, 0, 0, 0, 0];
        let bytes = [&magic[..], &verdict, &self.nonce].concat();
        match refused {
            None => Next::Say(bytes),
            Some(refusal) => Next::Refuse(bytes, refusal),
        }
    }

    fn hear_proof(&mut self, terms: Terms<'_>, connecting: [u8; NONCE], bytes: &[u8]) -> Next {
        let refuse = |refusal| {
            let mut verdict = vec![0; VERDICT];
            verdict.splice(..1, [Refusal::to_byte(Some(refusal))]);
            Next::Refuse(verdict, refusal)
        };
        let proof: [u8; PROOF] = match self.inbox.take(bytes) {
            Ok(Some(proof)) => proof,
            Ok(None) => return Next::Wait,
            Err(refusal) => return refuse(refusal),
        };
        let expected = terms.mac(b"connecting", &connecting, &self.nonce);
        let own = terms.mac(b"listening", &connecting, &self.nonce);
        // The comparison takes constant time.
        let is_proved = expected.is_some_and(|expected| expected.verify_slice(&proof).is_ok());
        match own.filter(|_| is_proved) {
            Some(own) => Next::Agree([&[0; 8][..], &own.finalize().into_bytes()].concat()),
            None => refuse(Refusal::Unauthorised),
        }
    }
}

/// Returns the parts behind the magic number: the nonce and the two types.
fn parse_hello(hello: &[u8; HELLO]) -> Option<([u8; NONCE], u64, u64)> {
    let (_, rest) = hello.split_first_chunk::<8>()?;
    let (nonce, rest) = rest.split_first_chunk()?;
    let (sends, rest) = rest.split_first_chunk()?;
    let (receives, zeros) = rest.split_first_chunk()?;
    zeros
        .iter()
        .all(|byte| *byte == 0)
        .then(|| (*nonce, u64::from_le_bytes(*sends), u64::from_le_bytes(*receives)))
}

/// The connecting side.
#[derive(Debug)]
pub struct Connecting {
    inbox: Inbox,
    nonce: [u8; NONCE],
    /// The other side's nonce, after its challenge.
    listening: Option<[u8; NONCE]>,
}

impl Connecting {
    /// Makes the connecting side; also returns what it sends first. The nonce cannot be guessed and is used only once.
    #[must_use]
    pub fn new(terms: Terms<'_>, nonce: [u8; NONCE]) -> (Self, Vec<u8>) {
        let types = [terms.receives.to_le_bytes(), terms.sends.to_le_bytes()].concat();
        let hello = [&terms.magic[..], &nonce, &types, &[0; 8]].concat();
        (Self { inbox: Inbox::new(), nonce, listening: None }, hello)
    }

    /// How many bytes of the current step are still missing. A caller that reads no more than these leaves alone what
    /// follows the handshake.
    #[must_use]
    pub fn missing(&self) -> usize {
        let step = if self.listening.is_none() { CHALLENGE } else { VERDICT };
        step.saturating_sub(self.inbox.len)
    }

    /// Returns what to do after these bytes arrived.
    pub fn hear(&mut self, terms: Terms<'_>, bytes: &[u8]) -> Next {
        let next = match self.listening {
            None => self.hear_challenge(terms, bytes),
            Some(listening) => self.hear_verdict(terms, listening, bytes),
        };
        next.unwrap_or_else(|refusal| Next::Refuse(Vec::new(), refusal))
    }

    fn hear_challenge(&mut self, terms: Terms<'_>, bytes: &[u8]) -> Result<Next, Refusal> {
        let step = self.inbox.take_first::<CHALLENGE>(terms.magic, bytes)?;
        let Some(challenge) = step else { return Ok(Next::Wait) };
        let (_, rest) = challenge.split_first_chunk::<8>().ok_or(Refusal::Malformed)?;
        let (verdict, rest) = rest.split_first_chunk::<8>().ok_or(Refusal::Malformed)?;
        let nonce = rest.first_chunk().ok_or(Refusal::Malformed)?;
        Refusal::from_byte(verdict[0])?;
        let proof = terms.mac(b"connecting", &self.nonce, nonce).ok_or(Refusal::Malformed)?;
        self.listening = Some(*nonce);
        Ok(Next::Say(proof.finalize().into_bytes().to_vec()))
    }

    fn hear_verdict(
        &mut self,
        terms: Terms<'_>,
        listening: [u8; NONCE],
        bytes: &[u8],
    ) -> Result<Next, Refusal> {
        let Some(verdict) = self.inbox.take::<VERDICT>(bytes)? else { return Ok(Next::Wait) };
        let (verdict, proof) = verdict.split_first_chunk::<8>().ok_or(Refusal::Malformed)?;
        Refusal::from_byte(verdict[0])?;
        let expected = terms.mac(b"listening", &self.nonce, &listening).ok_or(Refusal::Malformed)?;
        // The comparison takes constant time.
        expected.verify_slice(proof).map_err(|_| Refusal::Unauthorised)?;
        Ok(Next::Agree(Vec::new()))
    }
}

#[cfg(test)]
mod tests;
