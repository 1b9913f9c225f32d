//! Rows about tasks of a tokio runtime: two processes, with one runtime and one thread each.
//!
//! | contestant | what it is |
//! |---|---|
//! | ours | two queues, one for each direction, with `put_async` and `get_async` |
//! | `unix_pair` | a connected pair of stream sockets, through tokio's `UnixStream` |

use std::io::ErrorKind;
use std::os::unix::net::UnixStream as StdStream;

use anyhow::{Result, ensure};
use kernel_ipc::Queue;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use crate::children;
use crate::placement::Placement;
use crate::row::{Contestant, Pick, Row, Setup, Target, Unit, per_operation};

const ROUND_TRIPS: u64 = 20_000;
const BYTES: usize = 8;

pub(crate) fn rows() -> Vec<Row> {
    [Placement::OneCore, Placement::TwoCores]
        .map(|placement| Row {
            name: "queue_async_round_trip",
            placement,
            unit: Unit::Nanos,
            pick: Pick::Median,
            target: Target::at_most_times(1.3, "unix_pair"),
            needs: None,
            enter: Box::new(round_trips),
        })
        .into()
}

fn round_trips(setup: &Setup) -> Result<Vec<Contestant>> {
    let times = setup.scale.of(ROUND_TRIPS);
    let (of_queues, of_sockets) = (setup.clone(), setup.clone());
    Ok(vec![
        Contestant::new("ours", move || through_queues(&of_queues, times)),
        Contestant::new("unix_pair", move || through_sockets(&of_sockets, times)),
    ])
}

fn runtime(_: u64) -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn through_queues(setup: &Setup, times: u64) -> Result<f64> {
    let (there, back) = (Queue::<u64>::new()?, Queue::<u64>::new()?);
    let body = |(index, runtime): (u64, Runtime)| {
        runtime.block_on(async {
            for number in 0..times {
                if index == 0 {
                    there.put_async(&number).await?;
                    ensure!(back.get_async().await? == number, "an answer to something else");
                } else {
                    back.put_async(&there.get_async().await?).await?;
                }
            }
            Ok(())
        })
    };
    let (nanos, _ended) = children::gathered(setup, 2, |index| Ok((index, runtime(index)?)), body)?;
    Ok(per_operation(nanos, times))
}

fn through_sockets(setup: &Setup, times: u64) -> Result<f64> {
    let (one, other) = StdStream::pair()?;
    one.set_nonblocking(true)?;
    other.set_nonblocking(true)?;
    let body = |(index, runtime): (u64, Runtime)| {
        runtime.block_on(async {
            let stream = if index == 0 { &one } else { &other };
            let stream = UnixStream::from_std(stream.try_clone()?)?;
            for number in 0..times {
                if index == 0 {
                    write(&stream, number.to_ne_bytes()).await?;
                    ensure!(read(&stream).await? == number.to_ne_bytes(), "an answer to something else");
                } else {
                    write(&stream, read(&stream).await?).await?;
                }
            }
            Ok(())
        })
    };
    let (nanos, _ended) = children::gathered(setup, 2, |index| Ok((index, runtime(index)?)), body)?;
    Ok(per_operation(nanos, times))
}

/// Writes a message. A socket that is nearly empty takes one whole.
async fn write(stream: &UnixStream, message: [u8; BYTES]) -> Result<()> {
    loop {
        match stream.try_write(&message) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => stream.writable().await?,
            written => {
                ensure!(written? == BYTES, "a message was cut");
                return Ok(());
            }
        }
    }
}

async fn read(stream: &UnixStream) -> Result<[u8; BYTES]> {
    let mut message = [0; BYTES];
    loop {
        match stream.try_read(&mut message) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => stream.readable().await?,
            read => {
                ensure!(read? == BYTES, "a message was cut");
                return Ok(message);
            }
        }
    }
}
