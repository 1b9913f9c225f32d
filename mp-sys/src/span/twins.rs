//! Several spans of one object in one process: one for each of its handles.
//!
//! The bytes may go home when the last span is dropped, and only if no span was sent and none contains a lock that is held.
//! Most objects have one handle, so the state that the spans share is made only with the second one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::span::Span;

/// The state that the spans of one object share: whether the object's bytes stay where they are.
#[derive(Debug, Default)]
pub(super) struct Twins(OnceLock<Arc<AtomicBool>>);

impl Twins {
    /// The state of a span that is the only one so far.
    pub(super) const fn none() -> Self {
        Self(OnceLock::new())
    }

    /// Makes the state of one more span.
    fn share(&self) -> Self {
        Self(OnceLock::from(Arc::clone(self.0.get_or_init(Arc::default))))
    }

    /// Whether there is, or was, another span.
    pub(super) fn are_there(&self) -> bool {
        self.0.get().is_some()
    }

    /// Records that a span is dropped, and whether its bytes `may_go` home as far as this span knows. Returns whether they
    /// go: no other span is left, and every span agreed.
    pub(super) fn leave(&mut self, may_go: bool) -> bool {
        let Some(stays) = self.0.take() else { return may_go };
        if !may_go {
            stays.store(true, Ordering::Relaxed);
        }
        // Only one span gets `Some`. It sees what the others stored, because the reference count orders the accesses.
        Arc::into_inner(stays).is_some_and(|stays| !stays.into_inner())
    }
}

impl Span {
    /// Makes another span of the same bytes, for another handle of the object in them. The caller must use both as the same
    /// kind of object.
    pub(crate) fn twin(&self) -> Self {
        let mut twin = Self::piece(&self.mapping, self.offset(), self.length);
        twin.forks = self.forks;
        twin.home = self.home;
        twin.sent = AtomicBool::new(self.sent.load(Ordering::Acquire));
        twin.twins = self.twins.share();
        twin
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::span::Chunk;

    static HOME: Mutex<Vec<Span>> = Mutex::new(Vec::new());
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    fn handed_out() -> Span {
        HOME.lock().unwrap().clear();
        let span = Chunk::new(4096).unwrap().cut(64).unwrap();
        span.send_home_on_drop(|span| HOME.lock().unwrap().push(span))
    }

    fn came_home() -> usize {
        HOME.lock().unwrap().len()
    }

    #[test]
    fn the_last_of_them_goes_home() {
        let _alone = ONE_AT_A_TIME.lock().unwrap();
        let span = handed_out();
        let (one, start) = (span.twin(), span.start());
        let other = one.twin();
        assert_eq!((one.start(), other.start(), other.len()), (start, start, 64));
        drop(span);
        drop(other);
        assert_eq!(came_home(), 0);
        drop(one);
        assert_eq!(came_home(), 1);
        let home = HOME.lock().unwrap().pop().unwrap();
        assert!(home.start() == start && home.mapping_users() == 1 && !home.twins.are_there());
    }

    #[test]
    fn none_goes_home_if_one_was_sent_or_must_stay() {
        let _alone = ONE_AT_A_TIME.lock().unwrap();
        let span = handed_out();
        let twin = span.twin();
        twin.sent.store(true, Ordering::Release);
        drop(twin);
        drop(span);
        assert_eq!(came_home(), 0);

        let span = handed_out();
        span.sent.store(true, Ordering::Release);
        let twin = span.twin();
        drop(span);
        drop(twin);
        assert_eq!(came_home(), 0);

        let span = handed_out();
        let mut twin = span.twin();
        twin.never_go_home();
        drop(twin);
        drop(span);
        assert_eq!(came_home(), 0);
    }

    #[test]
    fn one_goes_home_whoever_is_the_last() {
        let _alone = ONE_AT_A_TIME.lock().unwrap();
        for _ in 0..200 {
            let span = handed_out();
            let twins = [span.twin(), span.twin(), span];
            std::thread::scope(|scope| {
                for twin in twins {
                    scope.spawn(move || drop((twin.twin(), twin)));
                }
            });
            assert_eq!(came_home(), 1);
        }
    }
}
