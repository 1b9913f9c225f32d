//! The CPUs on which the processes of a measurement run.
//!
//! Every figure between processes depends on them by up to a factor of a hundred, so a figure without its placement
//! means nothing. "CPU 0" and "CPU 1" are the first two CPUs of those that this program may use.

use std::fmt;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where the processes of a row run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Everything on CPU 0.
    OneCore,
    /// Peers alternate between CPU 0 and CPU 1.
    TwoCores,
    /// The scheduler decides.
    Any,
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OneCore => "one_core",
            Self::TwoCores => "two_cores",
            Self::Any => "any",
        })
    }
}

/// The CPUs that this program may use.
#[derive(Debug, Clone)]
pub(crate) struct Cpus {
    all: CpuSet,
    first: usize,
    second: Option<usize>,
}

impl Cpus {
    /// Asks the kernel. Call it before anything is pinned.
    pub(crate) fn of_this_program() -> Result<Self> {
        let all = sched_getaffinity(None).context("the CPUs of this program are unknown")?;
        let mut members = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu));
        let first = members.next().context("this program may run on no CPU")?;
        let second = members.next();
        Ok(Self { all, first, second })
    }

    /// Whether the machine allows this placement.
    pub(crate) fn allow(&self, placement: Placement) -> bool {
        placement != Placement::TwoCores || self.second.is_some()
    }

    /// The CPUs of member `index` of a row's processes, as in "0, 1".
    pub(crate) fn list(&self, placement: Placement, index: u64) -> String {
        let set = self.set(placement, index);
        let members: Vec<String> =
            (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).map(|cpu| cpu.to_string()).collect();
        members.join(", ")
    }

    fn set(&self, placement: Placement, index: u64) -> CpuSet {
        let second = self.second.unwrap_or(self.first);
        match placement {
            Placement::Any => self.all,
            Placement::OneCore => only(self.first),
            Placement::TwoCores if index.is_multiple_of(2) => only(self.first),
            Placement::TwoCores => only(second),
        }
    }

    /// Pins the calling process to the CPU of member `index` of a row's processes.
    pub(crate) fn pin(&self, placement: Placement, index: u64) -> Result<()> {
        sched_setaffinity(None, &self.set(placement, index)).context("a process cannot be pinned to its CPU")
    }
}

fn only(cpu: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(cpu);
    set
}

/// The name of the processor: the same build has other ratios on other processors.
pub(crate) fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    named.map_or_else(|| format!("an unnamed {}", std::env::consts::ARCH), |(_, name)| name.trim().to_owned())
}
