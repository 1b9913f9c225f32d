//! The handshake between a listener and a process that connects to it, without a socket: bytes in, bytes out.
//!
//! | step | who | bytes | what |
//! |---|---|---|---|
//! | hello | connecting | 64 | the protocol's magic number; its nonce; the types that it sends and receives; zeros |
//! | challenge | listening | 48 | the magic number; a verdict on the types and versions; the listener's versions; its nonce |
//! | proof | connecting | 32 | HMAC over "connecting", both nonces, both types and both sides' versions |
//! | verdict | listening | 40 | the verdict; HMAC over "listening" and the same. One end of a fresh connection comes with it |
//!
//! Both sides prove that they have the key, and neither sends it. A proof is valid only for these two nonces and this
//! direction. Without a key, both prove the empty one. The connecting side proves first, so that a stranger who connects
//! learns nothing that depends on the key. A step has a fixed length, so a peer cannot lie about a length. A peer that sends
//! more than its step, or anything else, is refused. A step that begins with another magic number is refused at its first
//! wrong byte, because the rest may never arrive.
//!
//! # Versions
//! A protocol that has versions offers a range of them, and both sides use the newest version that both know. Peers of
//! builds without ranges accept no other bytes in a hello than their own, so the last 12 bytes of a versioned nonce are
//! an offer: a tag, and the range. Such peers take them for part of the nonce, and send zeros, or a nonce without the tag.
//! The proofs cover both ranges, and an offer is part of the nonce. So nobody on the way can make two sides agree on an
//! older version.
//!
//! Source: the challenge of Python's `multiprocessing.connection`, whose two sides may use MD5.

mod versions;

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use self::versions::RANGE;
pub use self::versions::{Agreed, Offer, Versions};

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
    /// It knows no version of the protocol that this side knows.
    NoCommonVersion {
        /// The versions that it knows.
        theirs: Versions,
    },
}

impl Refusal {
    fn to_byte(refused: Option<Self>) -> u8 {
        match refused {
            None => 0,
            Some(Self::Malformed) => 1,
            Some(Self::WrongType) => 2,
            Some(Self::Unauthorised) => 3,
            Some(Self::NoCommonVersion { .. }) => 4,
        }
    }

    /// Reads a verdict, from a peer that knows these versions.
    fn from_byte(byte: u8, theirs: Option<Versions>) -> Result<(), Self> {
        match (byte, theirs) {
            (0, _) => Ok(()),
            (2, _) => Err(Self::WrongType),
            (3, _) => Err(Self::Unauthorised),
            (4, Some(theirs)) => Err(Self::NoCommonVersion { theirs }),
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
    /// The versions of the protocol that this side knows, if it has versions.
    pub offer: Option<Offer>,
}

impl fmt::Debug for Terms<'_> {
    /// Shows the terms without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { magic, key: _, sends, receives, offer } = self;
        f.debug_struct("Terms")
            .field("magic", magic)
            .field("sends", sends)
            .field("receives", receives)
            .field("offer", offer)
            .finish_non_exhaustive()
    }
}

impl Terms<'_> {
    fn mac(&self, who: &[u8], said: Said) -> Option<Hmac<Sha256>> {
        // HMAC accepts keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key).ok()?;
        mac.update(who);
        mac.update(&said.connecting);
        mac.update(&said.listening);
        mac.update(&self.sends.to_le_bytes());
        mac.update(&self.receives.to_le_bytes());
        // The nonce of the connecting side contains its versions.
        if let Some(versions) = said.listening_knows {
            mac.update(&versions.to_bytes());
        }
        Some(mac)
    }

    /// Returns the version to use with a peer, if this protocol has versions. `offered` is `None` for a peer that offers
    /// none.
    ///
    /// # Errors
    /// [`Refusal::NoCommonVersion`].
    fn agree(&self, offered: Option<Versions>) -> Result<Option<Agreed>, Refusal> {
        let Some(Offer { versions, silent }) = self.offer else { return Ok(None) };
        let theirs = offered.unwrap_or_else(|| Versions::only(silent));
        match versions.common(theirs) {
            Some(version) => Ok(Some(Agreed { version, theirs })),
            None => Err(Refusal::NoCommonVersion { theirs }),
        }
    }
}

/// What both sides have said before they prove that they have the key.
#[derive(Debug, Clone, Copy)]
struct Said {
    connecting: [u8; NONCE],
    listening: [u8; NONCE],
    /// The versions of the listening side, if both sides offered some.
    listening_knows: Option<Versions>,
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
    /// What both sides have said, after the other side's hello.
    said: Option<Said>,
    agreed: Option<Agreed>,
}

impl Listening {
    /// Makes the listening side, with a nonce that cannot be guessed and is used only once.
    #[must_use]
    pub fn new(nonce: [u8; NONCE]) -> Self {
        Self { inbox: Inbox::new(), nonce, said: None, agreed: None }
    }

    /// Returns the version to use, once both sides agree. `None` for a protocol without versions.
    #[must_use]
    pub const fn agreed(&self) -> Option<Agreed> {
        self.agreed
    }

    /// Returns what to do after these bytes arrived.
    pub fn hear(&mut self, terms: Terms<'_>, bytes: &[u8]) -> Next {
        self.hear_any(terms, std::iter::empty(), bytes)
    }

    /// Works as [`hear`](Self::hear) does, and accepts a peer that has one of the other keys, too.
    pub fn hear_any<'k>(
        &mut self,
        terms: Terms<'k>,
        others: impl Iterator<Item = &'k [u8]>,
        bytes: &[u8],
    ) -> Next {
        match self.said {
            None => self.hear_hello(terms, bytes),
            Some(said) => self.hear_proof(terms, others, said, bytes),
        }
    }

    fn hear_hello(&mut self, terms: Terms<'_>, bytes: &[u8]) -> Next {
        let hello: [u8; HELLO] = match self.inbox.take_first(terms.magic, bytes) {
            Ok(Some(hello)) => hello,
            Ok(None) => return Next::Wait,
            Err(refusal) => return self.challenge(terms, Some(refusal)),
        };
        let Some((nonce, sends, receives)) = parse_hello(&hello) else {
            return self.challenge(terms, Some(Refusal::Malformed));
        };
        if (sends, receives) != (terms.receives, terms.sends) {
            return self.challenge(terms, Some(Refusal::WrongType));
        }
        let offered = Versions::inside(&nonce);
        match terms.agree(offered) {
            Ok(agreed) => self.agreed = agreed,
            Err(refusal) => return self.challenge(terms, Some(refusal)),
        }
        let listening_knows = terms.offer.filter(|_| offered.is_some()).map(|offer| offer.versions);
        self.said = Some(Said { connecting: nonce, listening: self.nonce, listening_knows });
        self.challenge(terms, None)
    }

    fn challenge(&self, terms: Terms<'_>, refused: Option<Refusal>) -> Next {
        let verdict = [Refusal::to_byte(refused), 0, 0, 0];
        let range = terms.offer.map_or([0; RANGE], |offer| offer.versions.to_bytes());
        let bytes = [&terms.magic[..], &verdict, &range, &self.nonce].concat();
        match refused {
            None => Next::Say(bytes),
            Some(refusal) => Next::Refuse(bytes, refusal),
        }
    }

    fn hear_proof<'k>(
        &mut self,
        terms: Terms<'k>,
        others: impl Iterator<Item = &'k [u8]>,
        said: Said,
        bytes: &[u8],
    ) -> Next {
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
        let mut all = std::iter::once(terms.key).chain(others).map(|key| Terms { key, ..terms });
        // Each comparison takes constant time. Which key it was is no secret to a peer that has it.
        let proved = all.find(|terms| {
            let expected = terms.mac(b"connecting", said);
            expected.is_some_and(|expected| expected.verify_slice(&proof).is_ok())
        });
        match proved.and_then(|terms| terms.mac(b"listening", said)) {
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
    /// What both sides have said, after the other side's challenge.
    said: Option<Said>,
    agreed: Option<Agreed>,
}

impl Connecting {
    /// Makes the connecting side; also returns what it sends first. The nonce cannot be guessed and is used only once. If
    /// the protocol has versions, their offer replaces the end of the nonce.
    #[must_use]
    pub fn new(terms: Terms<'_>, nonce: [u8; NONCE]) -> (Self, Vec<u8>) {
        let nonce = terms.offer.map_or(nonce, |offer| offer.versions.put_into(nonce));
        let types = [terms.receives.to_le_bytes(), terms.sends.to_le_bytes()].concat();
        let hello = [&terms.magic[..], &nonce, &types, &[0; 8]].concat();
        (Self { inbox: Inbox::new(), nonce, said: None, agreed: None }, hello)
    }

    /// Returns the version to use, once both sides agree. `None` for a protocol without versions.
    #[must_use]
    pub const fn agreed(&self) -> Option<Agreed> {
        self.agreed
    }

    /// How many bytes of the current step are still missing. A caller that reads no more than these leaves alone what
    /// follows the handshake.
    #[must_use]
    pub fn missing(&self) -> usize {
        let step = if self.said.is_none() { CHALLENGE } else { VERDICT };
        step.saturating_sub(self.inbox.len)
    }

    /// Returns what to do after these bytes arrived.
    pub fn hear(&mut self, terms: Terms<'_>, bytes: &[u8]) -> Next {
        let next = match self.said {
            None => self.hear_challenge(terms, bytes),
            Some(said) => self.hear_verdict(terms, said, bytes),
        };
        next.unwrap_or_else(|refusal| Next::Refuse(Vec::new(), refusal))
    }

    fn hear_challenge(&mut self, terms: Terms<'_>, bytes: &[u8]) -> Result<Next, Refusal> {
        let step = self.inbox.take_first::<CHALLENGE>(terms.magic, bytes)?;
        let Some(challenge) = step else { return Ok(Next::Wait) };
        let (_, rest) = challenge.split_first_chunk::<8>().ok_or(Refusal::Malformed)?;
        let ([verdict, _, _, _], rest) = rest.split_first_chunk().ok_or(Refusal::Malformed)?;
        let (range, rest) = rest.split_first_chunk::<RANGE>().ok_or(Refusal::Malformed)?;
        let nonce = rest.first_chunk().ok_or(Refusal::Malformed)?;
        let offered = terms.offer.and_then(|_| Versions::of(*range));
        Refusal::from_byte(*verdict, offered)?;
        self.agreed = terms.agree(offered)?;
        let said = Said { connecting: self.nonce, listening: *nonce, listening_knows: offered };
        let proof = terms.mac(b"connecting", said).ok_or(Refusal::Malformed)?;
        self.said = Some(said);
        Ok(Next::Say(proof.finalize().into_bytes().to_vec()))
    }

    fn hear_verdict(&mut self, terms: Terms<'_>, said: Said, bytes: &[u8]) -> Result<Next, Refusal> {
        let Some(verdict) = self.inbox.take::<VERDICT>(bytes)? else { return Ok(Next::Wait) };
        let (verdict, proof) = verdict.split_first_chunk::<8>().ok_or(Refusal::Malformed)?;
        Refusal::from_byte(verdict[0], None)?;
        let expected = terms.mac(b"listening", said).ok_or(Refusal::Malformed)?;
        // The comparison takes constant time.
        expected.verify_slice(proof).map_err(|_| Refusal::Unauthorised)?;
        Ok(Next::Agree(Vec::new()))
    }
}

#[cfg(test)]
mod tests;
