//! Memory of the server that the kernel counts as resident. That excludes what the kernel needs for a socket.

use anyhow::{Context, Result};
use manager_rt::proto::{DictOp, ListOp, Op, Raw, Spec};

use super::frames::Wire;
use super::round_trips::{KEY, VALUE};
use super::started;
use crate::row::{Contestant, Setup};

const CLIENTS: usize = 500;
const ITEMS: u64 = 1_000_000;
const BATCH: u64 = 1_000;

/// The resident bytes of a process.
fn resident(pid: i32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = text.split_whitespace().nth(1).context("no pages in statm")?.parse()?;
    Ok(pages * u64::try_from(rustix::param::page_size())?)
}

/// Measures a connection that was used, and now waits.
pub(super) fn clients(setup: &Setup) -> Result<Vec<Contestant>> {
    let setup = setup.clone();
    let sample = move || {
        let manager = started(&setup)?;
        let mut first = Wire::connect(&manager)?;
        let object = first.make(Spec::Dict)?;
        let server = first.server()?;
        let before = resident(server)?;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = Wire::connect(&manager)?;
            client.ask(object, Op::Dict(DictOp::Insert(Raw::plain(&KEY), Raw::plain(&VALUE))))?;
            client.ask(object, Op::Dict(DictOp::Get(Raw::plain(&KEY))))?;
            clients.push(client);
        }
        let grown = resident(server)?.saturating_sub(before);
        manager.shutdown()?;
        Ok(grown as f64 / CLIENTS as f64 / 1024.0)
    };
    Ok(vec![Contestant::new("ours", sample)])
}

/// Measures a list of numbers.
pub(super) fn list(setup: &Setup) -> Result<Vec<Contestant>> {
    let setup = setup.clone();
    let sample = move || {
        let manager = started(&setup)?;
        let mut wire = Wire::connect(&manager)?;
        let object = wire.make(Spec::List)?;
        let server = wire.server()?;
        let before = resident(server)?;
        for batch in 0..ITEMS / BATCH {
            let numbers: Vec<Vec<u8>> = (batch * BATCH..(batch + 1) * BATCH)
                .map(|number| postcard::to_allocvec(&number))
                .collect::<Result<_, _>>()?;
            let values = numbers.iter().map(|bytes| Raw::plain(bytes)).collect();
            wire.ask(object, Op::List(ListOp::Extend(values)))?;
        }
        let grown = resident(server)?.saturating_sub(before);
        manager.shutdown()?;
        Ok(grown as f64 / 1e6)
    };
    Ok(vec![Contestant::new("ours", sample)])
}
