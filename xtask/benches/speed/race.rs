//! Measures a row: all contestants in turn, repeatedly, in a separate process.
//!
//! A machine that is shared with others is slow in one second and fast in the next. If the library and a reference were
//! measured one after the other, they would meet different seconds. Interleaved, they meet the same ones, and a
//! disturbed repeat is outvoted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::children;
use crate::placement::Placement;
use crate::row::{Contestant, Finding, PING_PONG, PingPong, Row, Setup};
use crate::waiting;

/// The longest that a row may take; the longest row takes fifteen seconds on a busy machine.
const ROW_TIMEOUT: Duration = Duration::from_secs(180);

/// The samples of each contestant, and those of the ping-pong.
type Measured = (Vec<(&'static str, Vec<f64>)>, Vec<f64>);

/// Measures a row in a separate process, which calls `progress` before each repeat.
pub(crate) fn run(row: &Row, setup: &Setup, progress: impl Fn(usize)) -> Result<Finding> {
    let setup = &Setup { placement: row.placement, ..setup.clone() };
    let (figures, around) = children::apart(ROW_TIMEOUT, || {
        setup.cpus.pin(row.placement, 0)?;
        let contestants = (row.enter)(setup)?;
        let ping_pong = (row.placement == Placement::TwoCores).then(|| waiting::bare_ping_pong(setup));
        let (samples, around) = measure(contestants, ping_pong, setup.scale.repeats, progress)?;
        let pick =
            |(name, samples): (&str, Vec<f64>)| Some((name.to_owned(), row.pick.of(&samples, row.unit)?));
        Ok((samples.into_iter().filter_map(pick).collect::<Vec<(String, f64)>>(), around))
    })
    .with_context(|| format!("row {} ({})", row.name, row.placement))?;
    let mut figures = figures.into_iter();
    let (_, ours) = figures.next().context("nothing was measured")?;
    let Row { name, placement, unit, target, .. } = *row;
    let mut references: Vec<(String, f64)> = figures.collect();
    let ping_pong = PingPong::of(&around);
    if target.reference() == Some(PING_PONG) {
        let figure = ping_pong.and_then(|ping_pong| unit.of_nanos(ping_pong.median));
        references.extend(figure.map(|figure| (PING_PONG.to_owned(), figure)));
    }
    Ok(Finding { name, placement, unit, ours, references, target, ping_pong })
}

/// The samples of each contestant, and those of the ping-pong: one right before each repeat, and one after the last.
fn measure(
    mut contestants: Vec<Contestant>,
    mut ping_pong: Option<Contestant>,
    repeats: usize,
    progress: impl Fn(usize),
) -> Result<Measured> {
    let mut samples: Vec<(&str, Vec<f64>)> =
        contestants.iter().map(|contestant| (contestant.name, Vec::with_capacity(repeats))).collect();
    ensure!(!samples.is_empty(), "the row has no contestants");
    let mut around = Vec::new();
    let mut look_around = || -> Result<()> {
        if let Some(ping_pong) = &mut ping_pong {
            around.push((ping_pong.sample)().context("a bare ping-pong")?);
        }
        Ok(())
    };
    look_around()?;
    for repeat in 0..repeats {
        progress(repeat + 1);
        // Each contestant starts as often as the others, so that none always follows the same one.
        for turn in 0..contestants.len() {
            let index = (repeat + turn) % contestants.len();
            let contestant = &mut contestants[index];
            let figure =
                (contestant.sample)().with_context(|| format!("{} in repeat {repeat}", contestant.name))?;
            samples[index].1.push(figure);
        }
        look_around()?;
    }
    Ok((samples, around))
}
