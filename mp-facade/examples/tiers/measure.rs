//! The work, and the time it takes in each tier.
//!
//! | work | shared memory | kernel objects | server process |
//! |---|---|---|---|
//! | a shared counter | one operation in place | a request to a process that counts | a request to the manager |
//! | passing bytes | a copy into an `Array`, and an `Event` | a `Queue` | a `Queue` of the manager |
//!
//! The bytes go to a child and back, and half of that time is one figure. So it includes the time until the other process
//! notices, in which the tiers differ most if there are few bytes.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mp::manager::{self, Manager};
use mp::{Array, Event, Queue, RawValue, Value, duplex};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The number of samples for each figure, of which the best counts. One more sample warms up first.
const SAMPLES: u32 = 5;
/// The operations in a sample: some milliseconds, even if each of them wakes up a processor.
const COUNTS_IN_MEMORY: u32 = 200_000;
const COUNTS_BY_ANOTHER_PROCESS: u32 = 1_000;
const SMALL_HANDED_OVER: u32 = 500;
const LARGE_HANDED_OVER: u32 = 20;
/// The numbers of bytes that are passed.
const SMALL: usize = 64;
const LARGE: usize = 1 << 20;
/// How long a process waits for the other one at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// The tier that does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    SharedMemory,
    KernelObjects,
    ServerProcess,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SharedMemory => "shared memory",
            Self::KernelObjects => "kernel objects",
            Self::ServerProcess => "server process",
        })
    }
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) tier: Tier,
    /// The means of the work.
    pub(crate) how: &'static str,
    /// The time of one operation.
    pub(crate) nanoseconds: f64,
}

/// All figures, those of one work next to each other.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let manager = Manager::start()?;
    let mut rows = Vec::new();
    let mut add = |work, tier, how, nanoseconds: Result<f64>| -> Result<()> {
        let nanoseconds = nanoseconds.with_context(|| format!("{work}: {how}"))?;
        rows.push(Row { work, tier, how, nanoseconds });
        Ok(())
    };
    let work = "adding to a shared counter";
    add(work, Tier::SharedMemory, "RawValue::fetch_add", raw_value())?;
    add(work, Tier::SharedMemory, "Value::update", value())?;
    add(work, Tier::KernelObjects, "duplex, there and back", counting_process())?;
    add(work, Tier::ServerProcess, "manager::Value::fetch_add", counting_manager(&manager))?;
    let works =
        [("handing over 64 B", SMALL, SMALL_HANDED_OVER), ("handing over 1 MiB", LARGE, LARGE_HANDED_OVER)];
    for (work, bytes, rounds) in works {
        let slots = [Slot::new(bytes)?, Slot::new(bytes)?];
        add(work, Tier::SharedMemory, "Array and Event", hand_over(&slots, bytes, rounds))?;
        let queues = [Queue::new()?, Queue::new()?];
        add(work, Tier::KernelObjects, "Queue", hand_over(&queues, bytes, rounds))?;
        let queues = [manager.queue()?, manager.queue()?];
        add(work, Tier::ServerProcess, "manager::Queue", hand_over(&queues, bytes, rounds))?;
    }
    manager.shutdown()?;
    Ok(rows)
}

/// Returns the nanoseconds of one of `count` operations, in the best of all samples.
fn best(count: u32, mut operation: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for sample in 0..=SAMPLES {
        let start = Instant::now();
        for _ in 0..count {
            operation()?;
        }
        let elapsed = start.elapsed().as_secs_f64() * 1e9 / f64::from(count);
        if sample > 0 {
            best = best.min(elapsed);
        }
    }
    Ok(best)
}

/// How often `best` runs an operation.
fn runs(count: u32) -> u32 {
    count * (SAMPLES + 1)
}

fn raw_value() -> Result<f64> {
    let counter = RawValue::new(0_u64)?;
    best(COUNTS_IN_MEMORY, || {
        black_box(counter.fetch_add(1));
        Ok(())
    })
}

fn value() -> Result<f64> {
    let counter = Value::new(0_u64)?;
    best(COUNTS_IN_MEMORY, || {
        black_box(counter.update(|n| n + 1)?);
        Ok(())
    })
}

fn counting_process() -> Result<f64> {
    let (here, there) = duplex::<u64, u64>()?;
    let count = || -> Result<()> {
        let mut sum = 0;
        for _ in 0..runs(COUNTS_BY_ANOTHER_PROCESS) {
            sum += there.recv_timeout(PATIENCE)?;
            there.send(&sum)?;
        }
        Ok(())
    };
    let child = mp::fork(|| count().map_err(|error| format!("{error:#}")))?;
    let nanoseconds = best(COUNTS_BY_ANOTHER_PROCESS, || {
        here.send(&1)?;
        here.recv_timeout(PATIENCE)?;
        Ok(())
    })?;
    child.join()?.map_err(anyhow::Error::msg)?;
    Ok(nanoseconds)
}

fn counting_manager(manager: &Manager) -> Result<f64> {
    let counter = manager.value(&0_u64)?;
    best(COUNTS_BY_ANOTHER_PROCESS, || {
        counter.fetch_add(1)?;
        Ok(())
    })
}

/// One way between two processes.
trait Lane {
    fn put(&self, block: &Block) -> Result<()>;
    fn get(&self, into: &mut Block) -> Result<()>;
}

/// Returns the nanoseconds of passing so many bytes: there on the first lane, and back on the second one.
fn hand_over<L: Lane>([there, back]: &[L; 2], bytes: usize, count: u32) -> Result<f64> {
    let echo = || -> Result<()> {
        let mut block = Block(vec![0; bytes]);
        for _ in 0..runs(count) {
            there.get(&mut block)?;
            back.put(&block)?;
        }
        Ok(())
    };
    let child = mp::fork(|| echo().map_err(|error| format!("{error:#}")))?;
    let sent = Block((0..=u8::MAX).cycle().take(bytes).collect());
    let mut received = Block(vec![0; bytes]);
    let nanoseconds = best(count, || {
        there.put(&sent)?;
        back.get(&mut received)
    })?;
    child.join()?.map_err(anyhow::Error::msg)?;
    ensure!(received.0 == sent.0, "other bytes came back");
    Ok(nanoseconds / 2.0)
}

/// A place for one block in shared memory.
struct Slot {
    bytes: Array<u8>,
    is_full: Event,
}

impl Slot {
    fn new(bytes: usize) -> Result<Self> {
        Ok(Self { bytes: Array::zeroed(bytes)?, is_full: Event::new()? })
    }
}

impl Lane for Slot {
    /// Nobody reads meanwhile, because the other process waits or works on the other lane.
    fn put(&self, block: &Block) -> Result<()> {
        self.bytes.write(0, &block.0)?;
        self.is_full.set();
        Ok(())
    }

    fn get(&self, into: &mut Block) -> Result<()> {
        ensure!(self.is_full.wait_timeout(PATIENCE), "nothing came");
        self.is_full.clear();
        Ok(self.bytes.read_into(0, &mut into.0)?)
    }
}

impl Lane for Queue<Block> {
    fn put(&self, block: &Block) -> Result<()> {
        Ok(self.put(block)?)
    }

    fn get(&self, into: &mut Block) -> Result<()> {
        *into = self.get_timeout(PATIENCE)?;
        Ok(())
    }
}

impl Lane for manager::Queue<Block> {
    fn put(&self, block: &Block) -> Result<()> {
        Ok(self.put(block)?)
    }

    fn get(&self, into: &mut Block) -> Result<()> {
        *into = self.get_timeout(PATIENCE)?;
        Ok(())
    }
}

/// Bytes that serde encodes as a whole; it encodes those of a plain `Vec` one by one.
#[derive(Debug)]
struct Block(Vec<u8>);

impl Serialize for Block {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(BlockVisitor)
    }
}

struct BlockVisitor;

impl Visitor<'_> for BlockVisitor {
    type Value = Block;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Block, E> {
        Ok(Block(bytes.to_vec()))
    }
}
