//! What a row is: a name, a placement, who competes, and what must be reached.

use std::fmt;
use std::time::Instant;

use anyhow::Result;

use crate::placement::{Cpus, Placement};
use crate::python::Python;

/// One line of the report.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) placement: Placement,
    pub(crate) unit: Unit,
    pub(crate) pick: Pick,
    pub(crate) target: Target,
    /// Without this there is nothing to measure.
    pub(crate) needs: Option<Tool>,
    /// Makes the contestants, ours first, in the process that measures.
    pub(crate) enter: Enter,
}

/// What a row is compared with and may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `python3` with `multiprocessing`.
    Python,
    /// `redis-server` and `redis-benchmark`.
    Redis,
}

/// Makes the contestants of a row.
pub(crate) type Enter = Box<dyn Fn(&Setup) -> Result<Vec<Contestant>>>;

/// What every measurement is given.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) cpus: Cpus,
    /// The row's.
    pub(crate) placement: Placement,
    pub(crate) scale: Scale,
    pub(crate) python: Option<Python>,
    /// Whether there is a Redis that can be started.
    pub(crate) has_redis: bool,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Samples of each contestant.
    pub(crate) repeats: usize,
    /// What the full number of iterations is divided by.
    pub(crate) divisor: u64,
}

impl Scale {
    pub(crate) const FULL: Self = Self { repeats: 11, divisor: 1 };
    /// Enough to see that everything runs.
    pub(crate) const QUICK: Self = Self { repeats: 5, divisor: 8 };

    /// The number of iterations when a full run has `full` of them.
    pub(crate) fn of(self, full: u64) -> u64 {
        (full / self.divisor).max(1)
    }
}

/// Ours or a reference: `sample` gives one measurement in the row's unit.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) sample: Box<dyn FnMut() -> Result<f64>>,
}

impl Contestant {
    pub(crate) fn new(name: &'static str, sample: impl FnMut() -> Result<f64> + 'static) -> Self {
        Self { name, sample: Box::new(sample) }
    }

    /// Measures nanoseconds per call of an operation that `run` performs as often as it is told, on this thread.
    pub(crate) fn timed(name: &'static str, times: u64, mut run: impl FnMut(u64) + 'static) -> Self {
        Self::new(name, move || {
            let started = Instant::now();
            run(times);
            Ok(per_operation(started.elapsed().as_secs_f64() * 1e9, times))
        })
    }
}

/// Nanoseconds per operation.
pub(crate) fn per_operation(nanos: f64, operations: u64) -> f64 {
    nanos / operations as f64
}

/// What the figures of a row are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanos,
    Micros,
    Millis,
    /// 2^10 bytes.
    Kibibytes,
    /// 10^6 bytes.
    Megabytes,
    /// 10^9 bytes a second: more is better.
    GigabytesPerSecond,
    /// Of the time of one CPU.
    Percent,
}

impl Unit {
    /// Of two figures, whether `a` is the better one.
    fn prefers(self, a: f64, b: f64) -> bool {
        if self == Self::GigabytesPerSecond { a > b } else { a < b }
    }
}

impl Unit {
    /// A time in this unit, if it is one of times.
    pub(crate) fn of_nanos(self, nanos: f64) -> Option<f64> {
        match self {
            Self::Nanos => Some(nanos),
            Self::Micros => Some(nanos / 1e3),
            Self::Millis => Some(nanos / 1e6),
            _ => None,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nanos => "ns",
            Self::Micros => "us",
            Self::Millis => "ms",
            Self::Kibibytes => "KiB",
            Self::Megabytes => "MB",
            Self::GigabytesPerSecond => "GB/s",
            Self::Percent => "%",
        })
    }
}

/// Which of the samples stands for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// For what runs undisturbed: everything else is noise of the machine.
    Best,
    /// For what depends on how several processes meet: the best would be a lucky meeting.
    Median,
    /// For what must never happen.
    Worst,
}

impl Pick {
    /// The figure that stands for `samples`; `None` if there are none.
    pub(crate) fn of(self, samples: &[f64], unit: Unit) -> Option<f64> {
        let mut samples = samples.to_vec();
        samples.sort_by(f64::total_cmp);
        match self {
            Self::Best => {
                samples.into_iter().reduce(|best, next| if unit.prefers(next, best) { next } else { best })
            }
            Self::Median => samples.get(samples.len() / 2).copied(),
            Self::Worst => {
                samples.into_iter().reduce(|worst, next| if unit.prefers(worst, next) { next } else { worst })
            }
        }
    }
}

/// What a bare ping-pong is called between the CPUs of a row for two cores, where it is the reference.
pub(crate) const PING_PONG: &str = "ping_pong";

/// A bare ping-pong between the CPUs of a row, in nanoseconds, measured around each repeat: the host may move the CPUs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PingPong {
    /// Right before the first repeat.
    pub(crate) before: f64,
    /// Right after the last one.
    pub(crate) after: f64,
    pub(crate) median: f64,
}

impl PingPong {
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let median = Pick::Median.of(samples, Unit::Nanos)?;
        Some(Self { before: *samples.first()?, after: *samples.last()?, median })
    }
}

/// What must be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    limit: f64,
    is_upper: bool,
    /// The reference that `limit` is a multiple of; `None` if it is a figure in the row's unit.
    against: Option<&'static str>,
}

impl Target {
    /// At most `limit` times what the reference takes.
    pub(crate) const fn at_most_times(limit: f64, reference: &'static str) -> Self {
        Self { limit, is_upper: true, against: Some(reference) }
    }

    /// At least `limit` times what the reference reaches.
    pub(crate) const fn at_least_times(limit: f64, reference: &'static str) -> Self {
        Self { limit, is_upper: false, against: Some(reference) }
    }

    /// At most `limit` in the row's unit.
    pub(crate) const fn at_most(limit: f64) -> Self {
        Self { limit, is_upper: true, against: None }
    }

    /// The reference that it is a multiple of, if it is one.
    pub(crate) fn reference(&self) -> Option<&'static str> {
        self.against
    }

    pub(crate) fn text(&self, unit: Unit) -> String {
        let relation = if self.is_upper { "<=" } else { ">=" };
        match self.against {
            Some(reference) => format!("{relation} {} x {reference}", self.limit),
            None => format!("{relation} {} {unit}", self.limit),
        }
    }
}

/// What a row came to.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    pub(crate) placement: Placement,
    pub(crate) unit: Unit,
    pub(crate) ours: f64,
    pub(crate) references: Vec<(String, f64)>,
    pub(crate) target: Target,
    /// For two cores.
    pub(crate) ping_pong: Option<PingPong>,
}

impl Finding {
    pub(crate) fn target_text(&self) -> String {
        self.target.text(self.unit)
    }

    /// Ours divided by each reference, but for one of nothing (a server that does not run at all).
    pub(crate) fn ratios(&self) -> impl Iterator<Item = (&str, f64)> {
        let positive = self.references.iter().filter(|(_, figure)| *figure > 0.0);
        positive.map(|(name, figure)| (name.as_str(), self.ours / figure))
    }

    /// The figure that the target limits: a ratio, or ours. `None` if the reference was not measured.
    pub(crate) fn judged(&self) -> Option<f64> {
        match self.target.against {
            None => Some(self.ours),
            Some(reference) => self.ratios().find(|(name, _)| *name == reference).map(|(_, ratio)| ratio),
        }
    }

    /// How much of what the target allows is used: at most 1 when it is met.
    pub(crate) fn used(&self) -> Option<f64> {
        let judged = self.judged()?;
        Some(if self.target.is_upper { judged / self.target.limit } else { self.target.limit / judged })
    }

    pub(crate) fn is_met(&self) -> bool {
        self.used().is_some_and(|used| used <= 1.0)
    }
}
