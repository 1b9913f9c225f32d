//! Objects in Redis beside the crate `redis`, which does the same with plain commands on a connection of its own.
//!
//! Both sides use the socket of one Redis, which keeps nothing on disk. Keys and values have 8 bytes.

use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use manager_rt::{Dict, JoinableQueue, List, Lock, LockError, Manager, Value};
use redis::{Cmd, Connection, FromRedisValue};

use super::redis::Redis;
use super::round_trips::{KEY, VALUE, for_sleepers, repeated};
use crate::row::{Contestant, Setup};

const ROUND_TRIPS: u64 = 10_000;
/// Holders that are killed for a sample.
const DEATHS: u32 = 5;

/// A Redis, with a manager and a bare connection.
struct Pair {
    redis: Redis,
    manager: Manager,
    bare: Connection,
}

impl Pair {
    fn start(setup: &Setup) -> Result<Self> {
        let redis = Redis::start(setup)?;
        let socket = redis.socket().display();
        let manager = Manager::connect(&format!("redis+unix://{socket}?ns=bench"))?;
        let bare = ::redis::Client::open(format!("redis+unix://{socket}"))?.get_connection()?;
        Ok(Self { redis, manager, bare })
    }

    /// The contestants: `ours`, and what `bare` does on its connection.
    fn race<O: 'static>(
        self,
        setup: &Setup,
        object: O,
        ours: impl Fn(&O) -> Result<()> + 'static,
        mut bare: impl FnMut(&mut Connection) -> Result<()> + 'static,
    ) -> Vec<Contestant> {
        let Self { redis, manager, bare: mut connection } = self;
        let times = for_sleepers(setup, ROUND_TRIPS);
        vec![
            repeated("ours", times, move || {
                let _kept = (&manager, &redis);
                ours(&object)
            }),
            repeated("bare", times, move || bare(&mut connection)),
        ]
    }
}

fn ask<T: FromRedisValue>(connection: &mut Connection, name: &str, arguments: &[&[u8]]) -> Result<T> {
    let mut command = Cmd::new();
    command.arg(name);
    for argument in arguments {
        command.arg(*argument);
    }
    Ok(command.query(connection)?)
}

type Entries = Dict<[u8; 8], [u8; 8]>;

pub(super) fn dict_set(setup: &Setup) -> Result<Vec<Contestant>> {
    let pair = Pair::start(setup)?;
    let entries: Entries = pair.manager.dict()?;
    let ours = |entries: &Entries| Ok(entries.insert(&KEY, &VALUE)?);
    Ok(pair.race(setup, entries, ours, |bare| ask(bare, "HSET", &[b"h", &KEY, &VALUE])))
}

pub(super) fn dict_get(setup: &Setup) -> Result<Vec<Contestant>> {
    let mut pair = Pair::start(setup)?;
    let entries: Entries = pair.manager.dict()?;
    entries.insert(&KEY, &VALUE)?;
    ask::<()>(&mut pair.bare, "HSET", &[b"h", &KEY, &VALUE])?;
    let ours = |entries: &Entries| {
        ensure!(entries.get(&KEY)?.is_some(), "the entry is gone");
        Ok(())
    };
    let bare = |bare: &mut Connection| {
        ensure!(ask::<Vec<u8>>(bare, "HGET", &[b"h", &KEY])? == VALUE, "the field is gone");
        Ok(())
    };
    Ok(pair.race(setup, entries, ours, bare))
}

pub(super) fn value_set(setup: &Setup) -> Result<Vec<Contestant>> {
    let pair = Pair::start(setup)?;
    let value: Value<[u8; 8]> = pair.manager.value(&VALUE)?;
    let ours = |value: &Value<[u8; 8]>| Ok(value.set(&VALUE)?);
    Ok(pair.race(setup, value, ours, |bare| ask(bare, "SET", &[b"v", &VALUE])))
}

pub(super) fn list_push(setup: &Setup) -> Result<Vec<Contestant>> {
    let pair = Pair::start(setup)?;
    let list: List<[u8; 8]> = pair.manager.list()?;
    let ours = |list: &List<[u8; 8]>| Ok(list.push(&VALUE)?);
    Ok(pair.race(setup, list, ours, |bare| ask(bare, "RPUSH", &[b"l", &VALUE])))
}

pub(super) fn lock(setup: &Setup) -> Result<Vec<Contestant>> {
    let pair = Pair::start(setup)?;
    let lock = pair.manager.lock()?;
    let bare = |bare: &mut Connection| {
        ask::<()>(bare, "SET", &[b"lock", &VALUE, b"NX", b"PX", b"10000"])?;
        ask::<()>(bare, "DEL", &[b"lock"])
    };
    Ok(pair.race(setup, lock, take, bare))
}

fn take(lock: &Lock) -> Result<()> {
    drop(lock.lock().map_err(|error| anyhow!("a lock was not taken: {error}"))?);
    Ok(())
}

pub(super) fn task(setup: &Setup) -> Result<Vec<Contestant>> {
    let pair = Pair::start(setup)?;
    let tasks: JoinableQueue<[u8; 8]> = pair.manager.joinable_queue()?;
    let ours = |tasks: &JoinableQueue<[u8; 8]>| {
        tasks.put(&VALUE)?;
        tasks.get()?.done()?;
        Ok(())
    };
    let bare = |bare: &mut Connection| {
        ask::<()>(bare, "RPUSH", &[b"q", &VALUE])?;
        ask::<()>(bare, "LMOVE", &[b"q", b"taken", b"LEFT", b"RIGHT"])?;
        ask::<()>(bare, "LREM", &[b"taken", b"1", &VALUE])
    };
    Ok(pair.race(setup, tasks, ours, bare))
}

/// From the death of a holder to the grant to the next one, while the host lives.
pub(super) fn death(setup: &Setup) -> Result<Vec<Contestant>> {
    let pair = Pair::start(setup)?;
    let lock = pair.manager.lock()?;
    Ok(vec![Contestant::new("ours", move || {
        let _kept = &pair;
        let mut longest = 0.0_f64;
        for _ in 0..DEATHS {
            let holds = mp::Event::new()?;
            let holder = mp::fork(|| -> () {
                let _guard = lock.lock().ok();
                holds.set();
                loop {
                    std::thread::park();
                }
            })?;
            ensure!(holds.wait_timeout(super::redis::START_TIMEOUT), "no lock for the holder");
            holder.kill().context("the holder lives")?;
            let died = Instant::now(); // the kernel reports the death a moment later
            match lock.lock() {
                Err(LockError::OwnerDied(guard)) => drop(guard),
                Ok(_) => bail!("the death of the holder was not reported"),
                Err(error) => bail!("no lock after a death: {error}"),
            }
            longest = longest.max(died.elapsed().as_secs_f64() * 1e3);
        }
        Ok(longest)
    })])
}
