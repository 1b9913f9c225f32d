//! Rows about waiting: a word that two processes pass back and forth.
//!
//! | contestant | how it waits |
//! |---|---|
//! | ours | [`Signal`]: spins if the peer is on another CPU, otherwise sleeps |
//! | `raw_futex` | always asleep in the kernel |
//! | `spinning` | never asleep; only if each process has its own CPU |

use std::sync::atomic::AtomicU32;

use anyhow::{Context, Result};
use mp_sys::adaptive::{Budget, Signal};
use mp_sys::deadline::Deadline;

use crate::children::{self, SAMPLE_TIMEOUT};
use crate::placement::Placement;
use crate::reference::raw_futex::{post, post_silently, spin_while, wait_while};
use crate::reference::shared_page::Shared;
use crate::reference::{PingPong, SharedPage};
use crate::row::{Contestant, PING_PONG, Pick, Row, Setup, Target, Unit};

/// Round trips of one pair in one sample.
pub(crate) const ROUND_TRIPS: u32 = 20_000;
/// Round trips of each of several pairs.
pub(crate) const ROUND_TRIPS_OF_MANY: u32 = 5_000;
/// The most pairs of a row.
const PAIRS_MAX: usize = 4;

pub(crate) fn rows() -> Vec<Row> {
    let near_futex = Target::at_most_times(1.15, "raw_futex");
    // A figure between two CPUs means nothing without the time that a word takes from one to the other.
    let short = Target::at_most_times(5.0, PING_PONG);
    let short_anywhere = Target::at_most(1.0);
    let one = |placement, target| Row {
        name: "adaptive_round_trip",
        placement,
        unit: Unit::Micros,
        pick: Pick::Median,
        target,
        needs: None,
        enter: Box::new(one_pair),
    };
    let four = |placement| Row {
        name: "adaptive_round_trip_4_pairs",
        placement,
        unit: Unit::Micros,
        pick: Pick::Median,
        target: near_futex,
        needs: None,
        enter: Box::new(four_pairs),
    };
    vec![
        one(Placement::OneCore, near_futex),
        one(Placement::TwoCores, short),
        one(Placement::Any, short_anywhere),
        four(Placement::TwoCores),
        four(Placement::Any),
    ]
}

fn one_pair(setup: &Setup) -> Result<Vec<Contestant>> {
    let mut contestants =
        vec![pairs::<Adaptive>(setup, 1, ROUND_TRIPS), pairs::<RawFutex>(setup, 1, ROUND_TRIPS)];
    // If the scheduler decides, both may meet on one CPU, where each round trip would take two time slices.
    if setup.placement == Placement::TwoCores {
        contestants.push(pairs::<Spinning>(setup, 1, ROUND_TRIPS));
    }
    Ok(contestants)
}

/// There are more processes than CPUs, so a spinning process keeps another one from running.
fn four_pairs(setup: &Setup) -> Result<Vec<Contestant>> {
    Ok(vec![
        pairs::<Adaptive>(setup, 4, ROUND_TRIPS_OF_MANY),
        pairs::<RawFutex>(setup, 4, ROUND_TRIPS_OF_MANY),
    ])
}

/// The time that a word takes from one of the row's two CPUs to the other and back, in nanoseconds, with nothing around
/// it.
pub(crate) fn bare_ping_pong(setup: &Setup) -> Contestant {
    let mut pair = pairs::<Spinning>(setup, 1, ROUND_TRIPS);
    Contestant::new(PING_PONG, move || Ok((pair.sample)()? * 1e3))
}

/// `count` pairs of processes at the same time: microseconds until each pair has done one more round trip.
pub(crate) fn pairs<W: Waiting>(setup: &Setup, count: u32, round_trips: u32) -> Contestant {
    let setup = setup.clone();
    Contestant::new(W::NAME, move || {
        let round_trips = (round_trips / u32::try_from(setup.scale.divisor)?).max(1);
        let lines = SharedPage::<[PingPong<W::Word>; PAIRS_MAX]>::new()?;
        let nanos = children::together(&setup, u64::from(count) * 2, |index| {
            let line = lines.get(usize::try_from(index / 2)?).context("more pairs than lines")?;
            if index.is_multiple_of(2) { ping::<W>(line, round_trips) } else { pong::<W>(line, round_trips) }
        })?;
        Ok(nanos / f64::from(round_trips) / 1e3)
    })
}

#[inline(never)]
fn ping<W: Waiting>(line: &PingPong<W::Word>, round_trips: u32) -> Result<()> {
    let (budget, deadline) = (Budget::new(), Deadline::after(SAMPLE_TIMEOUT));
    for n in 0..round_trips {
        W::post(&line.ping, n + 1);
        W::wait_while(&line.pong, n, &budget, deadline)?;
    }
    Ok(())
}

#[inline(never)]
fn pong<W: Waiting>(line: &PingPong<W::Word>, round_trips: u32) -> Result<()> {
    let (budget, deadline) = (Budget::new(), Deadline::after(SAMPLE_TIMEOUT));
    for n in 0..round_trips {
        W::wait_while(&line.ping, n, &budget, deadline)?;
        W::post(&line.pong, n + 1);
    }
    Ok(())
}

/// A way to wait for a word.
pub(crate) trait Waiting {
    const NAME: &'static str;
    type Word: Shared + 'static;

    fn post(word: &Self::Word, value: u32);

    fn wait_while(word: &Self::Word, value: u32, budget: &Budget, deadline: Deadline) -> Result<()>;
}

struct Adaptive;

impl Waiting for Adaptive {
    const NAME: &'static str = "ours";
    type Word = Signal;

    #[inline]
    fn post(word: &Signal, value: u32) {
        word.post(value);
    }

    #[inline]
    fn wait_while(word: &Signal, value: u32, budget: &Budget, deadline: Deadline) -> Result<()> {
        word.wait_while(value, budget, deadline).context("the peer does not answer")?;
        Ok(())
    }
}

pub(crate) struct RawFutex;

impl Waiting for RawFutex {
    const NAME: &'static str = "raw_futex";
    type Word = AtomicU32;

    #[inline]
    fn post(word: &AtomicU32, value: u32) {
        post(word, value);
    }

    #[inline]
    fn wait_while(word: &AtomicU32, value: u32, _: &Budget, _: Deadline) -> Result<()> {
        wait_while(word, value);
        Ok(())
    }
}

struct Spinning;

impl Waiting for Spinning {
    const NAME: &'static str = "spinning";
    type Word = AtomicU32;

    #[inline]
    fn post(word: &AtomicU32, value: u32) {
        post_silently(word, value);
    }

    #[inline]
    fn wait_while(word: &AtomicU32, value: u32, _: &Budget, deadline: Deadline) -> Result<()> {
        spin_while(word, value, deadline)
    }
}
