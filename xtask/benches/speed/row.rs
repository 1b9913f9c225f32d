//! A row: its name, its placement, its contestants, and its target.

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
    /// Without this tool there is nothing to measure.
    pub(crate) needs: Option<Tool>,
    /// Makes the contestants, the library's first, in the process that measures.
    pub(crate) enter: Enter,
}

/// A tool that a row is compared with and that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `python3` with `multiprocessing`.
    Python,
    /// `redis-server` and `redis-benchmark`.
    Redis,
    /// The same, built with TLS, and `openssl`.
    RedisOverTls,
    /// `rabbitmq-server`.
    RabbitMq,
}

/// Makes the contestants of a row.
pub(crate) type Enter = Box<dyn Fn(&Setup) -> Result<Vec<Contestant>>>;

/// What every measurement receives.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) cpus: Cpus,
    /// The placement of the row.
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
    /// The divisor of the full number of iterations.
    pub(crate) divisor: u64,
}

impl Scale {
    pub(crate) const FULL: Self = Self { repeats: 11, divisor: 1 };
    /// Enough to see that everything works.
    pub(crate) const QUICK: Self = Self { repeats: 5, divisor: 8 };

    /// The number of iterations if a full run has `full` of them.
    pub(crate) fn of(self, full: u64) -> u64 {
        (full / self.divisor).max(1)
    }
}

/// The library or a reference: `sample` returns one measurement in the row's unit.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) sample: Box<dyn FnMut() -> Result<f64>>,
}

impl Contestant {
    pub(crate) fn new(name: &'static str, sample: impl FnMut() -> Result<f64> + 'static) -> Self {
        Self { name, sample: Box::new(sample) }
    }

    /// Measures nanoseconds per call of an operation that `run` performs a given number of times, on this thread.
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

/// The unit of a row's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanos,
    Micros,
    Millis,
    /// 2^10 bytes.
    Kibibytes,
    /// 10^6 bytes.
    Megabytes,
    /// 10^9 bytes per second: more is better.
    GigabytesPerSecond,
    /// A share of the time of one CPU, or a difference between shares.
    Percent,
}

impl Unit {
    /// Whether `a` is the better of two figures.
    fn prefers(self, a: f64, b: f64) -> bool {
        if self == Self::GigabytesPerSecond { a > b } else { a < b }
    }
}

impl Unit {
    /// Converts a time to this unit, if it is a unit of time.
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

/// Which of the samples represents all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// For a measurement that runs undisturbed: everything else is noise of the machine.
    Best,
    /// For a measurement that depends on how several processes meet: the best one would be a lucky meeting.
    Median,
    /// For something that must never happen.
    Worst,
}

impl Pick {
    /// The figure that represents `samples`, or `None` if there are none.
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

/// The name of a bare ping-pong between the CPUs of a row for two cores, if it is the reference.
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

/// The target of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    limit: f64,
    is_upper: bool,
    /// The reference that `limit` is a multiple of; `None` if `limit` is a figure in the row's unit.
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

    /// The reference of which the target is a multiple, if it is one.
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

/// The result of a row.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    pub(crate) placement: Placement,
    pub(crate) unit: Unit,
    pub(crate) ours: f64,
    pub(crate) references: Vec<(String, f64)>,
    pub(crate) target: Target,
    /// Only for two cores.
    pub(crate) ping_pong: Option<PingPong>,
}

impl Finding {
    pub(crate) fn target_text(&self) -> String {
        self.target.text(self.unit)
    }

    /// The library's figure divided by each reference, except for references of 0 (a server that does not run at all).
    pub(crate) fn ratios(&self) -> impl Iterator<Item = (&str, f64)> {
        let positive = self.references.iter().filter(|(_, figure)| *figure > 0.0);
        positive.map(|(name, figure)| (name.as_str(), self.ours / figure))
    }

    /// The figure that the target limits: a ratio, or the library's figure. `None` if the reference was not measured.
    pub(crate) fn judged(&self) -> Option<f64> {
        match self.target.against {
            None => Some(self.ours),
            Some(reference) => self.ratios().find(|(name, _)| *name == reference).map(|(_, ratio)| ratio),
        }
    }

    /// The share of the target that is used: at most 1 if the target is met.
    pub(crate) fn used(&self) -> Option<f64> {
        let judged = self.judged()?;
        Some(if self.target.is_upper { judged / self.target.limit } else { self.target.limit / judged })
    }

    pub(crate) fn is_met(&self) -> bool {
        self.used().is_some_and(|used| used <= 1.0)
    }
}
