//! Starting the workers of a pool that need not be forked.

use std::marker::PhantomData;
use std::os::fd::OwnedFd;

use serde::de::DeserializeOwned;

use crate::child::Child;
use crate::pool::worker::{Luggage, Station, decode as decode_argument, give, work};
use crate::process::Process;
use crate::start::arguments::Arguments;
use crate::start::error::StartError;
use crate::start::return_value::ReturnValue;
use crate::start::spawn::{Work, decode};

/// Starts a worker that calls a function for each item.
pub(super) fn plain<A, R>(
    process: Process,
    function: fn(A) -> R,
    station: &Station,
) -> Result<Child<()>, StartError>
where
    A: DeserializeOwned,
    R: ReturnValue,
{
    process.start_work::<Plain, A, R>(function, &(station.luggage(), ()))
}

/// Starts a worker that calls what `initializer` returns for each item.
pub(super) fn with<I, W, A, R>(
    process: Process,
    initializer: fn(I) -> W,
    args: &impl Arguments<I>,
    station: &Station,
) -> Result<Child<()>, StartError>
where
    I: DeserializeOwned,
    W: FnMut(A) -> R,
    A: DeserializeOwned,
    R: ReturnValue,
{
    process.start_work::<Initialized<A, R>, I, W>(initializer, &(station.luggage(), args))
}

/// Works at a station with a plain function.
struct Plain;

impl<A: DeserializeOwned, R: ReturnValue> Work<A, R> for Plain {
    type Value = ();

    fn work(function: fn(A) -> R, args: &[u8], descriptors: Vec<OwnedFd>) -> Result<(), String> {
        let (luggage, ()): (Luggage, ()) = decode(args, descriptors)?;
        work_with(&Station::of(luggage), function);
        Ok(())
    }
}

/// Works at a station with what an initializer returns.
struct Initialized<A, R>(PhantomData<fn(A) -> R>);

impl<I, W, A, R> Work<I, W> for Initialized<A, R>
where
    I: DeserializeOwned,
    W: FnMut(A) -> R,
    A: DeserializeOwned,
    R: ReturnValue,
{
    type Value = ();

    fn work(initializer: fn(I) -> W, args: &[u8], descriptors: Vec<OwnedFd>) -> Result<(), String> {
        let (luggage, args): (Luggage, I) = decode(args, descriptors)?;
        work_with(&Station::of(luggage), initializer(args));
        Ok(())
    }
}

fn work_with<A: DeserializeOwned, R: ReturnValue>(station: &Station, mut function: impl FnMut(A) -> R) {
    work(station, |_, argument, into| {
        let argument = decode_argument(argument)?;
        give(&function(argument), into)
    });
}
