//! Finding circles among waits for locks.
//!
//! Each thread waits for one lock at most, and each lock has one holder at most, so every thread has one successor at most. A
//! walk that meets a thread again has found a circle, and no walk has to go where an earlier one has been.
//!
//! The waits come in several pages, and may end between them. So a circle counts only if a second look finds the same waits
//! for the same holders: numbers of waits and tokens of locks are never used again, so each of them lasted from the first look
//! to the second, and all of them existed between the two.

use std::collections::{HashMap, HashSet};

use crate::report::{Deadlock, WaitFor, WaitReport};

/// A thread of a client.
type Thread = (u64, u64);

/// Returns the circles among waits for locks.
pub(crate) fn cycles(waits: &[WaitReport]) -> Vec<Deadlock> {
    let blocked: HashMap<Thread, &WaitReport> = waits
        .iter()
        .filter(|wait| wait.wait_for == WaitFor::Lock)
        .map(|wait| ((wait.client, wait.thread), wait))
        .collect();
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    for wait in waits {
        let (mut thread, mut path) = ((wait.client, wait.thread), Vec::new());
        while let Some(wait) = blocked.get(&thread)
            && let Some(holder) = &wait.holder
            && seen.insert(thread)
        {
            path.push(thread);
            thread = (holder.client, holder.thread);
        }
        // What was seen in an earlier walk is not in this path.
        if let Some(first) = path.iter().position(|passed| *passed == thread) {
            let members = path.iter().skip(first).filter_map(|thread| blocked.get(thread).copied());
            found.push(in_order(members.cloned().collect()));
        }
    }
    found
}

/// Begins a circle with the wait that has the smallest number.
fn in_order(mut waits: Vec<WaitReport>) -> Deadlock {
    let numbers = waits.iter().map(|wait| wait.number).enumerate();
    if let Some((first, _)) = numbers.min_by_key(|(_, number)| *number) {
        waits.rotate_left(first);
    }
    Deadlock { waits }
}

/// Returns those circles that a later look finds again, as it finds them.
pub(crate) fn confirmed(earlier: &[Deadlock], later: &[WaitReport]) -> Vec<Deadlock> {
    let key = |wait: &WaitReport| (wait.number, wait.holder.as_ref().map(|holder| holder.token));
    let keys = |deadlock: &Deadlock| deadlock.waits.iter().map(key).collect::<Vec<_>>();
    let before: HashSet<_> = earlier.iter().map(keys).collect();
    cycles(later).into_iter().filter(|deadlock| before.contains(&keys(deadlock))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::report::{Kind, LockHolder, ObjectId};

    /// Makes the wait of a thread for a lock that another thread holds. Each thread holds the lock of its number.
    fn wait(number: u64, thread: Thread, holder: Thread) -> WaitReport {
        let (client, of) = holder;
        WaitReport {
            number,
            client: thread.0,
            thread: thread.1,
            object: ObjectId(client * 100 + of),
            kind: Kind::Lock,
            name: None,
            wait_for: WaitFor::Lock,
            waited: Duration::from_secs(1),
            time_left: None,
            holder: Some(LockHolder {
                client,
                thread: of,
                token: 1,
                depth: 1,
                held_for: Duration::from_secs(2),
                lease_left: None,
            }),
        }
    }

    fn numbers(found: &[Deadlock]) -> Vec<Vec<u64>> {
        found.iter().map(|deadlock| deadlock.waits.iter().map(|wait| wait.number).collect()).collect()
    }

    #[test]
    fn a_circle_is_found_once_wherever_the_walk_begins() {
        let (a, b, c, d) = ((1, 1), (2, 1), (2, 2), (3, 7));
        let waits = [wait(5, d, a), wait(6, a, b), wait(4, b, c), wait(9, c, a), wait(10, (8, 8), d)];
        for turn in 0..waits.len() {
            let mut waits = waits.clone();
            waits.rotate_left(turn);
            assert_eq!(numbers(&cycles(&waits)), [[4, 9, 6]], "turned by {turn}");
        }
    }

    #[test]
    fn a_line_is_no_circle_and_two_circles_are_two() {
        let (a, b, c, d) = ((1, 1), (2, 1), (3, 1), (4, 1));
        assert_eq!(cycles(&[wait(1, a, b), wait(2, b, c), wait(3, c, d)]), []);
        let two = [wait(1, a, b), wait(2, b, a), wait(3, c, d), wait(4, d, c)];
        assert_eq!(numbers(&cycles(&two)), [[1, 2], [3, 4]]);
        assert_eq!(numbers(&cycles(&[wait(1, a, a)])), [[1]], "a thread that waits for itself");
        assert_eq!(cycles(&[]), []);
    }

    #[test]
    fn only_waits_for_locks_form_a_circle() {
        let (a, b) = ((1, 1), (2, 1));
        let items = WaitReport { wait_for: WaitFor::Items, holder: None, ..wait(2, b, a) };
        assert_eq!(cycles(&[wait(1, a, b), items]), []);
    }

    #[test]
    fn a_circle_that_was_not_there_at_both_looks_is_not_confirmed() {
        let (a, b) = ((1, 1), (2, 1));
        let first = cycles(&[wait(1, a, b), wait(2, b, a)]);
        assert_eq!(numbers(&confirmed(&first, &[wait(1, a, b), wait(2, b, a)])), [[1, 2]]);
        let other_wait = [wait(1, a, b), wait(3, b, a)];
        assert_eq!(confirmed(&first, &other_wait), []);
        let mut other_grant = wait(2, b, a);
        other_grant.holder.as_mut().unwrap().token = 2;
        assert_eq!(confirmed(&first, &[wait(1, a, b), other_grant]), []);
        assert_eq!(confirmed(&first, &[wait(1, a, b)]), []);
    }

    #[test]
    fn a_circle_ends_with_the_first_limit_in_it() {
        let mut waits = vec![wait(1, (1, 1), (2, 1)), wait(2, (2, 1), (1, 1))];
        assert_eq!(Deadlock { waits: waits.clone() }.ends_in(), None);
        waits[0].time_left = Some(Duration::from_secs(9));
        waits[1].holder.as_mut().unwrap().lease_left = Some(Duration::from_secs(8));
        let deadlock = Deadlock { waits };
        assert_eq!(deadlock.ends_in(), Some(Duration::from_secs(8)));
        let shown = "thread 1 of client 1 waits for Lock #c9, held by thread 1 of client 2, which waits for Lock #65, \
                     held by thread 1 of client 1";
        assert_eq!(deadlock.to_string(), shown);
    }

    proptest! {
        /// Compares with the definition: a thread is in a circle if a walk from it comes back to it.
        #[test]
        fn circles_are_those_of_the_definition(holders in prop::collection::vec(0..12_usize, 0..12)) {
            let thread = |place: usize| (u64::try_from(place).unwrap(), 1);
            let waits: Vec<_> = holders
                .iter()
                .enumerate()
                .map(|(place, holder)| wait(thread(place).0 + 1, thread(place), thread(*holder)))
                .collect();
            let comes_back = |start: usize| {
                let mut at = start;
                (0..holders.len()).any(|_| {
                    at = holders.get(at).copied().unwrap_or(usize::MAX);
                    at == start
                })
            };
            let expected: HashSet<u64> = (0..holders.len())
                .filter(|place| comes_back(*place))
                .map(|place| thread(place).0 + 1)
                .collect();
            let found = numbers(&cycles(&waits));
            let members: Vec<u64> = found.iter().flatten().copied().collect();
            prop_assert_eq!(members.len(), expected.len(), "none of them twice");
            prop_assert_eq!(members.into_iter().collect::<HashSet<_>>(), expected);
            for circle in &found {
                let is_closed = circle.iter().zip(circle.iter().cycle().skip(1)).all(|(one, next)| {
                    holders.get(usize::try_from(one - 1).unwrap()).is_some_and(|holder| thread(*holder).0 + 1 == *next)
                });
                prop_assert!(is_closed, "{:?}", circle);
            }
        }
    }
}
