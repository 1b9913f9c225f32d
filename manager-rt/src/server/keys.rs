//! The keys that a server accepts, and their replacement while it serves.
//!
//! A handshake goes on with the keys with which it began. So the keys before the last replacement are remembered, for the connections
//! that began with them. A handshake takes a few seconds at most: see [`HANDSHAKE_TIME_MAX`](crate::limits::HANDSHAKE_TIME_MAX).

use std::fmt;
use std::os::fd::{AsFd, AsRawFd};
#[cfg(feature = "tcp")]
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use mp_sys::OsError;
use mp_sys::key::Key;
use mp_sys::signals::Hangups;

use crate::limits::KEYS_MAX;
use crate::transport::Acceptors;
#[cfg(feature = "tcp")]
use crate::transport::remote::{SharedKey, TooShort};

/// Reads the new keys, and returns `None` if the old ones stay.
pub(super) type NewKeys = Box<dyn FnMut() -> Option<Vec<Key>> + Send + Sync>;

/// The accepted keys.
#[derive(Debug)]
pub(super) struct Keys {
    /// At least one.
    newest: Vec<Key>,
    /// Those before.
    former: Vec<Key>,
    /// How many times they were replaced.
    generation: u32,
}

/// Why keys are not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("there is no key, or an empty one")]
    Empty,
    #[error("{0} keys are more than a server accepts, which is {KEYS_MAX}")]
    TooMany(usize),
    #[cfg(feature = "tcp")]
    #[error("a key of {0} bytes is too short for a server that other hosts reach")]
    TooShort(usize),
}

impl Keys {
    /// Begins with these keys, of which there is at least one.
    pub(super) const fn new(newest: Vec<Key>) -> Self {
        Self { newest, former: Vec::new(), generation: 0 }
    }

    /// Returns how many times the keys were replaced.
    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    fn all_of(&self, generation: u32) -> &[Key] {
        match self.generation.wrapping_sub(generation) {
            0 => &self.newest,
            1 => &self.former,
            _ => &[],
        }
    }

    /// Returns a key by its number among those of a generation. For an unknown one, it is the first of the newest, and never no key.
    pub(super) fn of(&self, generation: u32, number: usize) -> &[u8] {
        self.all_of(generation).get(number).or_else(|| self.newest.first()).map_or(&[], Key::as_bytes)
    }

    /// Returns the keys of a generation after the first one. An empty one lets nobody in: only the first one may say that there is none.
    pub(super) fn others_of(&self, generation: u32) -> impl Iterator<Item = &[u8]> {
        self.all_of(generation).iter().skip(1).filter(|key| !key.is_none()).map(Key::as_bytes)
    }

    /// Replaces the keys.
    ///
    /// # Errors
    /// [`Refused`]. The keys are as they were.
    fn replace(
        &mut self,
        keys: Vec<Key>,
        #[cfg_attr(not(feature = "tcp"), expect(unused_variables, reason = "only other hosts have copies"))]
        acceptors: &mut Acceptors,
    ) -> Result<(), Refused> {
        if keys.is_empty() || keys.iter().any(Key::is_none) {
            return Err(Refused::Empty);
        }
        if keys.len() > KEYS_MAX {
            return Err(Refused::TooMany(keys.len()));
        }
        #[cfg(feature = "tcp")]
        if acceptors.are_remote() {
            let shared: Result<Arc<[SharedKey]>, TooShort> = keys.iter().map(SharedKey::of).collect();
            acceptors.accept_keys(&shared.map_err(|TooShort { bytes }| Refused::TooShort(bytes))?);
        }
        self.former = std::mem::replace(&mut self.newest, keys);
        self.generation = self.generation.wrapping_add(1);
        Ok(())
    }
}

/// How a server learns of new keys.
pub(super) struct Renewal {
    hangups: Hangups,
    read: NewKeys,
}

impl Renewal {
    /// Waits for SIGHUP from now on.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub(super) fn new(read: NewKeys) -> Result<Self, OsError> {
        Ok(Self { hangups: Hangups::block()?, read })
    }

    /// Lets SIGHUP be reported with `token`.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(super) fn register(&self, registry: &Registry, token: Token) -> Result<(), OsError> {
        let number = self.hangups.as_fd().as_raw_fd();
        Ok(registry.register(&mut SourceFd(&number), token, Interest::READABLE)?)
    }

    /// Replaces the keys if a SIGHUP has arrived.
    pub(super) fn renew(&mut self, keys: &mut Keys, acceptors: &mut Acceptors) {
        if !self.hangups.arrived() {
            return;
        }
        if let Some(new) = (self.read)()
            && let Err(error) = keys.replace(new, acceptors)
        {
            tracing::error!(%error, "the keys stay as they are");
        }
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(keys: &mut Keys, new: &[&str]) -> Result<(), Refused> {
        keys.replace(new.iter().map(|key| Key::from(*key)).collect(), &mut Acceptors::new(Vec::new()))
    }

    #[test]
    fn a_handshake_goes_on_with_the_keys_with_which_it_began() {
        let mut keys = Keys::new(vec![Key::from("a"), Key::from("b")]);
        replace(&mut keys, &["c"]).unwrap();
        assert_eq!([keys.of(0, 0), keys.of(0, 1), keys.of(1, 0)], [b"a", b"b", b"c"]);
        replace(&mut keys, &["d", "e"]).unwrap();
        assert_eq!([keys.of(1, 0), keys.of(2, 1)], [b"c", b"e"]);
        for (generation, number) in [(0, 0), (0, 9), (1, 1), (2, 2), (9, 0)] {
            assert_eq!(keys.of(generation, number), b"d", "no key is not a key");
        }
        let others = |generation| keys.others_of(generation).collect::<Vec<_>>();
        assert_eq!([others(0), others(1), others(2)], [vec![], vec![], vec![&b"e"[..]]]);
        let with_empty = Keys::new(vec![Key::from("a"), Key::default(), Key::from("b")]);
        assert_eq!(with_empty.others_of(0).collect::<Vec<_>>(), [b"b"]);
    }

    #[test]
    fn keys_with_which_no_server_begins_are_refused() {
        let mut keys = Keys::new(vec![Key::from("a")]);
        assert_eq!(replace(&mut keys, &[]), Err(Refused::Empty));
        assert_eq!(replace(&mut keys, &["b", ""]), Err(Refused::Empty));
        assert_eq!(replace(&mut keys, &["b"; KEYS_MAX + 1]), Err(Refused::TooMany(KEYS_MAX + 1)));
        assert_eq!((keys.generation(), keys.of(0, 0)), (0, &b"a"[..]));
        assert_eq!(replace(&mut keys, &["b"; KEYS_MAX]), Ok(()));
    }
}
