//! Rows about what processes wait for: a turn that two of them pass back and forth through each kind of object.
//!
//! | object | how the turn is passed | reference besides `raw_futex` |
//! |---|---|---|
//! | `Event` | two events: a side sets the other's, then waits for its own and clears it | |
//! | `Condition` | a `Value` that holds whose turn it is | `raw_condition`: a futex beside a robust mutex |
//! | `Barrier` | two rounds of a barrier for two: as many wake-ups | `raw_barrier`: two futex words |
//!
//! `raw_futex` is the ping-pong of the rows about waiting, which consists of nothing but the word. A barrier is
//! compared with the raw barrier, because on one core each of them switches more often than the ping-pong.

use std::hint::black_box;
use std::sync::atomic::AtomicU32;

use anyhow::{Context, Result};
use shm_core::{Barrier, Condition, Event, Semaphore, Value};

use crate::children;
use crate::placement::Placement;
use crate::reference::raw_futex::meet;
use crate::reference::{PingPong, RawCondition, SharedPage};
use crate::row::{Contestant, PING_PONG, Pick, Row, Setup, Target, Unit};
use crate::waiting::{self, ROUND_TRIPS, ROUND_TRIPS_OF_MANY, RawFutex};

/// Permits taken and released in one sample.
const PERMITS: u64 = 2_000_000;
/// Pairs in the rows with more processes than CPUs.
const PAIRS: u32 = 4;

/// The two sides of a pair.
const PING: u32 = 0;
const PONG: u32 = 1;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![Row {
        name: "semaphore_acquire_release",
        placement: Placement::OneCore,
        unit: Unit::Nanos,
        pick: Pick::Best,
        target: Target::at_most(25.0),
        needs: None,
        enter: Box::new(permits),
    }];
    rows.extend(round_trips(["event_round_trip", "event_round_trip_4_pairs"], "raw_futex", by_event));
    rows.extend(round_trips(
        ["condition_round_trip", "condition_round_trip_4_pairs"],
        "raw_futex",
        by_condition,
    ));
    rows.extend(round_trips(["barrier_round_trip", "barrier_round_trip_4_pairs"], "raw_barrier", by_barrier));
    rows
}

fn permits(setup: &Setup) -> Result<Vec<Contestant>> {
    let semaphore = Semaphore::new(1)?;
    let take = move |times| {
        for _ in 0..times {
            drop(black_box(&semaphore).acquire());
        }
    };
    Ok(vec![Contestant::timed("ours", setup.scale.of(PERMITS), take)])
}

/// Makes the contestants for this many pairs.
type Enter = fn(&Setup, u32) -> Vec<Contestant>;

fn round_trips([one, four]: [&'static str; 2], near: &'static str, enter: Enter) -> Vec<Row> {
    let near = Target::at_most_times(1.15, near);
    let row = |name, placement, target, pairs| Row {
        name,
        placement,
        unit: Unit::Micros,
        pick: Pick::Median,
        target,
        needs: None,
        enter: Box::new(move |setup: &Setup| Ok(enter(setup, pairs))),
    };
    vec![
        row(one, Placement::OneCore, near, 1),
        row(one, Placement::TwoCores, Target::at_most_times(5.0, PING_PONG), 1),
        row(four, Placement::TwoCores, near, PAIRS),
        row(four, Placement::Any, near, PAIRS),
    ]
}

fn by_event(setup: &Setup, count: u32) -> Vec<Contestant> {
    vec![pairs::<Events>(setup, count), raw(setup, count)]
}

fn by_condition(setup: &Setup, count: u32) -> Vec<Contestant> {
    vec![pairs::<Turn>(setup, count), raw(setup, count), pairs::<RawCondition>(setup, count)]
}

fn by_barrier(setup: &Setup, count: u32) -> Vec<Contestant> {
    vec![pairs::<Barrier>(setup, count), raw(setup, count), pairs::<RawBarrier>(setup, count)]
}

fn raw(setup: &Setup, count: u32) -> Contestant {
    waiting::pairs::<RawFutex>(setup, count, times_of(count))
}

/// Round trips of each pair in one sample.
fn times_of(pairs: u32) -> u32 {
    if pairs == 1 { ROUND_TRIPS } else { ROUND_TRIPS_OF_MANY }
}

/// `count` pairs of processes at the same time: microseconds until each pair has done one more round trip.
///
/// As in a user's program, nothing here has a timeout; a sample that hangs is killed.
fn pairs<T: Turns + 'static>(setup: &Setup, count: u32) -> Contestant {
    let setup = setup.clone();
    Contestant::new(T::NAME, move || {
        let round_trips = (times_of(count) / u32::try_from(setup.scale.divisor)?).max(1);
        let turns = (0..count).map(|_| T::new()).collect::<Result<Vec<T>>>()?;
        let nanos = children::together(&setup, u64::from(count) * 2, |index| {
            let turn = turns.get(usize::try_from(index / 2)?).context("more pairs than turns")?;
            let side = if index.is_multiple_of(2) { PING } else { PONG };
            play(turn, side, round_trips)
        })?;
        Ok(nanos / f64::from(round_trips) / 1e3)
    })
}

#[inline(never)]
fn play<T: Turns>(turn: &T, side: u32, round_trips: u32) -> Result<()> {
    for _ in 0..round_trips {
        if side == PING {
            turn.give(PONG)?;
            turn.wait_for(PING)?;
        } else {
            turn.wait_for(PONG)?;
            turn.give(PING)?;
        }
    }
    Ok(())
}

/// A turn that belongs to side 0 at first.
trait Turns: Sized {
    const NAME: &'static str = "ours";

    fn new() -> Result<Self>;

    /// Passes the turn to `side`.
    fn give(&self, side: u32) -> Result<()>;

    /// Waits until it is the turn of `side`, and takes it.
    fn wait_for(&self, side: u32) -> Result<()>;
}

/// One event for each side.
struct Events([Event; 2]);

impl Events {
    fn of(&self, side: u32) -> &Event {
        let Self([ping, pong]) = self;
        if side == PING { ping } else { pong }
    }
}

impl Turns for Events {
    fn new() -> Result<Self> {
        Ok(Self([Event::new()?, Event::new()?]))
    }

    #[inline]
    fn give(&self, side: u32) -> Result<()> {
        self.of(side).set();
        Ok(())
    }

    #[inline]
    fn wait_for(&self, side: u32) -> Result<()> {
        self.of(side).wait();
        self.of(side).clear();
        Ok(())
    }
}

/// Whose turn it is, and a condition to wait for it.
struct Turn {
    side: Value<u32>,
    passed: Condition,
}

impl Turns for Turn {
    fn new() -> Result<Self> {
        Ok(Self { side: Value::new(PING)?, passed: Condition::new()? })
    }

    #[inline]
    #[expect(clippy::unwrap_used, reason = "what is measured is what users write")]
    fn give(&self, side: u32) -> Result<()> {
        *self.side.lock().unwrap() = side;
        self.passed.notify(1);
        Ok(())
    }

    #[inline]
    #[expect(clippy::unwrap_used, reason = "what is measured is what users write")]
    fn wait_for(&self, side: u32) -> Result<()> {
        drop(self.passed.wait_while(self.side.lock().unwrap(), |turn| *turn != side).unwrap());
        Ok(())
    }
}

impl Turns for RawCondition {
    const NAME: &'static str = "raw_condition";

    fn new() -> Result<Self> {
        Self::new()
    }

    #[inline]
    fn give(&self, side: u32) -> Result<()> {
        self.give(side);
        Ok(())
    }

    #[inline]
    fn wait_for(&self, side: u32) -> Result<()> {
        self.wait_for(side);
        Ok(())
    }
}

/// Both sides meet twice in each round trip.
impl Turns for Barrier {
    fn new() -> Result<Self> {
        Ok(Self::new(2)?)
    }

    #[inline]
    fn give(&self, _: u32) -> Result<()> {
        self.wait()?;
        Ok(())
    }

    #[inline]
    fn wait_for(&self, _: u32) -> Result<()> {
        self.wait()?;
        Ok(())
    }
}

/// The round, and the number of arrivals in it.
struct RawBarrier(SharedPage<PingPong<AtomicU32>>);

impl Turns for RawBarrier {
    const NAME: &'static str = "raw_barrier";

    fn new() -> Result<Self> {
        Ok(Self(SharedPage::new()?))
    }

    #[inline]
    fn give(&self, _: u32) -> Result<()> {
        meet(&self.0.ping, &self.0.pong);
        Ok(())
    }

    #[inline]
    fn wait_for(&self, _: u32) -> Result<()> {
        meet(&self.0.ping, &self.0.pong);
        Ok(())
    }
}
