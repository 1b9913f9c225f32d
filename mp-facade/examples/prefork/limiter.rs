//! The rate limit of each client: a table of token buckets in shared memory, of fixed size.
//!
//! A bucket is one number: when it will be full again. A request is allowed if that moment, moved on by the time of one token,
//! is not further away than the time of all tokens. This is the same as counting tokens, and needs no refill.
//!
//! A client belongs to one set of the table by the hash of its address. A set is one [`Value`], so [`Value::update`] finds the
//! bucket and takes the token in one step, whichever worker it happens in. If a worker is killed in it, the token was taken or
//! was not, and the lock passes on.
//!
//! # Invariants
//! 1. A bucket that is full says nothing about its client, so its place is free.
//! 2. A client has at most one bucket. If all places of its set are taken, it gets the place of the bucket that is full first;
//!    the client there starts with a full bucket when it comes again. Such cases are counted.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use mp::{RawValue, Value};

use crate::limits::{LIMITER_SETS, LIMITER_WAYS};

/// Clients of one set, and the nanoseconds of the server's clock at which their buckets are full.
type Set = [u64; 2 * LIMITER_WAYS];

/// How many requests a client may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Tokens of a full bucket.
    pub(crate) burst: u32,
    /// The time in which a token comes back.
    pub(crate) interval: Duration,
}

impl Rule {
    pub(crate) fn per_hour(rate: u32, burst: u32) -> Self {
        let hour = Duration::from_secs(3600);
        Self { burst, interval: hour.checked_div(rate).unwrap_or(hour) }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// There is a token again after this time.
    Limited(Duration),
}

/// The table.
#[derive(Debug)]
pub(crate) struct Limiter {
    sets: Vec<Value<Set>>,
    /// Its keys are random, so no client can choose its set. All processes have a copy of them.
    hasher: RandomState,
    forgotten: RawValue<u64>,
}

impl Limiter {
    pub(crate) fn new() -> Result<Self> {
        let sets = (0..LIMITER_SETS).map(|_| Value::new([0; 2 * LIMITER_WAYS])).collect::<Result<_, _>>();
        let sets = sets.context("no shared memory for the rate limit")?;
        Ok(Self { sets, hasher: RandomState::new(), forgotten: RawValue::new(0)? })
    }

    /// Takes a token of a client at a moment of the server's clock.
    pub(crate) fn take(&self, client: IpAddr, now: Duration, rule: Rule) -> Verdict {
        let hash = self.hasher.hash_one(network(client)) | 1; // never 0, which is nobody
        let set = usize::try_from(hash >> 32).unwrap_or(0) % self.sets.len();
        let now = nanos(now);
        let mut outcome = Outcome { verdict: Verdict::Allowed, forgot: false };
        let updated = self.sets[set].update(|mut set| {
            outcome = take_from(&mut set, hash, now, rule);
            set
        });
        // A table that cannot be used does not stop the service.
        if updated.is_ok() && outcome.forgot {
            self.forgotten.fetch_add(1);
        }
        outcome.verdict
    }

    /// How often a full set made the table forget a client.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten.load()
    }
}

struct Outcome {
    verdict: Verdict,
    forgot: bool,
}

fn take_from(set: &mut Set, hash: u64, now: u64, rule: Rule) -> Outcome {
    let (place, known) = place_of(set, hash, now);
    let full_at = if known { set[2 * place + 1].max(now) } else { now };
    let interval = nanos(rule.interval).max(1);
    let next = full_at.saturating_add(interval);
    let over = (next - now).saturating_sub(interval.saturating_mul(u64::from(rule.burst)));
    if over > 0 {
        return Outcome { verdict: Verdict::Limited(Duration::from_nanos(over)), forgot: false };
    }
    let forgot = !known && set[2 * place + 1] > now;
    (set[2 * place], set[2 * place + 1]) = (hash, next);
    Outcome { verdict: Verdict::Allowed, forgot }
}

/// The place for a client, and whether its bucket is there.
fn place_of(set: &Set, hash: u64, now: u64) -> (usize, bool) {
    let mut best = 0;
    for place in 0..LIMITER_WAYS {
        if set[2 * place] == hash && set[2 * place + 1] > now {
            return (place, true);
        }
        if set[2 * place + 1] < set[2 * best + 1] {
            best = place;
        }
    }
    (best, false)
}

/// What counts as one client: an IPv4 address, or the 64 bits of an IPv6 address that a network gives to one customer.
fn network(client: IpAddr) -> u128 {
    match client.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64 | 1 << 63,
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RULE: Rule = Rule { burst: 3, interval: SECOND };

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    fn allowed(limiter: &Limiter, number: u32, now: Duration) -> bool {
        limiter.take(client(number), now, RULE) == Verdict::Allowed
    }

    #[test]
    fn a_burst_is_allowed_and_tokens_come_back_one_by_one() {
        let limiter = Limiter::new().unwrap();
        let start = SECOND * 100;
        assert_eq!([0; 4].map(|_| allowed(&limiter, 1, start)), [true, true, true, false]);
        let half = start + SECOND / 2;
        assert_eq!(limiter.take(client(1), half, RULE), Verdict::Limited(SECOND / 2));
        assert_eq!([0; 2].map(|_| allowed(&limiter, 1, start + SECOND)), [true, false]);
        assert_eq!([0; 4].map(|_| allowed(&limiter, 1, start + SECOND * 10)), [true, true, true, false]);
        assert!(allowed(&limiter, 2, start), "another client has a bucket of its own");
    }

    #[test]
    fn a_bucket_of_one_token_and_the_fastest_rate_work() {
        let limiter = Limiter::new().unwrap();
        let rule = Rule::per_hour(crate::limits::RATE_PER_HOUR_MAX, 1);
        assert_eq!(rule.interval, Duration::from_micros(1));
        assert_eq!(limiter.take(client(1), SECOND, rule), Verdict::Allowed);
        assert_eq!(limiter.take(client(1), SECOND, rule), Verdict::Limited(rule.interval));
        assert_eq!(limiter.take(client(1), SECOND + rule.interval, rule), Verdict::Allowed);
    }

    #[test]
    fn a_full_set_forgets_the_client_that_needs_it_least() {
        let mut set: Set = [0; 2 * LIMITER_WAYS];
        let now = nanos(SECOND);
        for hash in 1..=LIMITER_WAYS as u64 {
            for _ in 0..if hash == 5 { 1 } else { 3 } {
                let outcome = take_from(&mut set, hash, now, RULE);
                assert!(outcome.verdict == Verdict::Allowed && !outcome.forgot, "there is room for {hash}");
            }
        }
        assert!(take_from(&mut set, 100, now, RULE).forgot, "one client more than there are places");
        assert!(
            !set.iter().step_by(2).any(|&hash| hash == 5) && set.iter().step_by(2).any(|&hash| hash == 1)
        );
        assert!(matches!(take_from(&mut set, 1, now, RULE).verdict, Verdict::Limited(_)), "1 is remembered");
        let later = now + nanos(SECOND * 10);
        assert!(!take_from(&mut set, 101, later, RULE).forgot, "full buckets are free places");
    }

    #[test]
    fn addresses_of_one_customer_are_one_client() {
        let v6 = |text: &str| network(text.parse::<Ipv6Addr>().unwrap().into());
        assert_eq!(v6("2001:db8::1"), v6("2001:db8::ffff"));
        assert_ne!(v6("2001:db8:0:1::1"), v6("2001:db8::1"));
        assert_eq!(v6("::ffff:10.0.0.1"), network(Ipv4Addr::new(10, 0, 0, 1).into()));
    }

    #[test]
    fn of_tokens_that_many_take_at_once_each_is_taken_once() {
        const BURST: u32 = 20_000;
        let limiter = Limiter::new().unwrap();
        let rule = Rule { burst: BURST, interval: SECOND };
        let take_all =
            || (0..BURST).filter(|_| limiter.take(client(1), SECOND, rule) == Verdict::Allowed).count();
        let taken = std::thread::scope(|scope| {
            let others = [(); 3].map(|()| scope.spawn(take_all));
            take_all() + others.into_iter().map(|other| other.join().unwrap()).sum::<usize>()
        });
        assert_eq!(taken, BURST as usize);
    }

    #[test]
    fn many_clients_share_the_table() {
        let limiter = Limiter::new().unwrap();
        for number in (0..).take(LIMITER_SETS) {
            assert!(allowed(&limiter, number, SECOND));
        }
        let few = limiter.forgotten();
        assert!(few < 5, "one client for each set, and {few} were forgotten");
        for number in 0..20_000 {
            assert!(allowed(&limiter, 1 << 20 | number, SECOND));
        }
        assert!(limiter.forgotten() > 10_000, "more clients than places");
    }
}
