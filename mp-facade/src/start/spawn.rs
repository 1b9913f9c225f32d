//! `spawn`: a child that executes the program again, and calls one of its functions.

use std::collections::HashSet;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};

use mp_sys::child::Lifeline;
use mp_sys::reexec::{CALL_BYTES_MAX, CALL_DESCRIPTORS_MAX, Call, Given, REFUSED_EXIT_CODE, Run};
use mp_sys::socket::Ended;
use mp_sys::travel::{self, Luggage, TravelError};
use mp_sys::{crash, forkserver, wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::child::Child;
use crate::current;
use crate::handle::Handle;
use crate::outcome::{Lease, Outcome};
use crate::process::{Birth, Method};
use crate::running::{Running, reap_abandoned};
use crate::start::arguments::Arguments;
use crate::start::error::StartError;
use crate::start::return_value::ReturnValue;
use crate::start::{NAME_BYTES_MAX, whole};

/// The most bytes that a worker's arguments may have in serialized form. Put more into shared memory.
pub const ARGUMENT_BYTES_MAX: usize = CALL_BYTES_MAX - ENVELOPE_BYTES_MAX;
/// The most descriptors that a worker's arguments may contain: the kernel takes 253 in one packet, and this library needs
/// four.
pub const ARGUMENT_DESCRIPTORS_MAX: usize = CALL_DESCRIPTORS_MAX - 2;
/// Room for the envelope before the arguments.
const ENVELOPE_BYTES_MAX: usize = NAME_BYTES_MAX + 32;

/// Calls `worker` with `args` in a new process that executes this program again, and returns its handle.
///
/// The child begins afresh: it has no memory, lock, thread or open descriptor of this process, except those in `args`. So you
/// can start it while other threads run or guards are held, and from a `#[test]`. `main` does not run in it.
///
/// `worker` is any function of the program, an instance of a generic function, or a closure that captures nothing. The child
/// gets its position in the program's file, and checks that it runs the same file. `args` travel in serialized form, and
/// shared objects, ends of pipes, queues and descriptors in them arrive as such. If you pass a reference in place of a value,
/// this process keeps the value (see [`Arguments`]). The compiler refuses types that cannot be serialized, such as guards and
/// permits.
///
/// This function does not wait until the child runs. Threads that the child starts and does not join end with it when `worker`
/// has returned, as at the end of `main`.
///
/// # Errors
/// [`StartError`]: no child was started then. [`Child::join`] reports later errors:
/// [`ExitError::NotRun`](crate::ExitError::NotRun) if the child runs another build, and
/// [`ExitError::Arguments`](crate::ExitError::Arguments) if it cannot deserialize `args`.
///
/// # Fork safety
/// A forked child may spawn, and so may a spawned one.
///
/// # Crash
/// If the child is killed, [`Child::join`] returns the signal. If this process is killed, the child goes on.
///
/// # Source
/// Python's `multiprocessing.Process` with the start method "spawn"; posix_spawn(3). Unlike Python, this needs no `if
/// __name__ == "__main__"`.
///
/// # Examples
/// ```standalone_crate
/// fn longest(words: Vec<String>) -> Option<String> {
///     words.into_iter().max_by_key(String::len)
/// }
///
/// let words = ["one", "three"].map(str::to_owned).to_vec();
/// let child = mp::spawn(longest, words)?;
/// assert_eq!(child.join()?.as_deref(), Some("three"));
///
/// let child = mp::spawn(|text: String| text.parse::<u32>().unwrap(), "12a".to_owned())?;
/// assert!(matches!(child.join(), Err(mp::ExitError::Panicked(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Types that cannot travel do not compile:
/// ```compile_fail
/// fn never(_: mp::LockGuard<'_>) {}
/// # let lock = mp::Lock::new().unwrap();
/// mp::spawn(never, lock.lock().unwrap());
/// ```
#[doc(alias = "freeze_support")]
#[doc(alias = "Process")]
pub fn spawn<A, R>(worker: fn(A) -> R, args: impl Arguments<A>) -> Result<Child<R>, StartError>
where
    A: DeserializeOwned,
    R: ReturnValue,
{
    start::<CallOnce, A, R>(Birth::by(Method::Spawn), worker, &args)
}

/// What a started process does with its function and its encoded arguments.
pub(crate) trait Work<A, R> {
    /// What the process leaves for its parent.
    type Value: ReturnValue;

    /// Does the work. An error is the reason why the arguments could not be decoded.
    fn work(function: fn(A) -> R, args: &[u8], descriptors: Vec<OwnedFd>) -> Result<Self::Value, String>;
}

/// Calls the function once, with the arguments.
pub(crate) struct CallOnce;

impl<A: DeserializeOwned, R: ReturnValue> Work<A, R> for CallOnce {
    type Value = R;

    fn work(function: fn(A) -> R, args: &[u8], descriptors: Vec<OwnedFd>) -> Result<R, String> {
        let args = decode(args, descriptors)?;
        crash::point();
        Ok(function(args))
    }
}

/// Starts a process that executes the program again, or that a process which did so forks.
pub(crate) fn start<W: Work<A, R>, A, R>(
    birth: Birth,
    function: fn(A) -> R,
    args: &impl Serialize,
) -> Result<Child<W::Value>, StartError> {
    reap_abandoned();
    let lease = Lease::new()?;
    crash::point();
    let call = Call::new::<Worker<W>, A, R>(function).map_err(StartError::of)?;
    let (body, luggage) = encode(&envelope(&birth, &lease), args)?;
    crash::point();
    let (result, _) = lease.outcome().address();
    let line = birth.tie.as_ref().map(|tie| tie.line.as_fd());
    let descriptors: Vec<_> = std::iter::once(result)
        .chain(line)
        .chain(luggage.descriptors.iter().map(|file| file.as_fd()))
        .collect();
    let (process, line) = if birth.about.method == Method::ForkServer {
        let process = forkserver::start(call, &body, &descriptors).map_err(StartError::of)?;
        (Handle::Served(process), None)
    } else {
        let label = birth.about.name.as_deref().unwrap_or("child");
        let (process, line) = call.start(label, &body, &descriptors).map_err(StartError::of)?;
        (Handle::Own(process), Some(line))
    };
    crash::point();
    Ok(Child::new(Running::add(process, lease, line, birth.about)))
}

/// Starts a copy of this process. As in an executed process, its arguments are in serialized form, and they contain the only
/// ends of pipes and connections that it has.
pub(crate) fn start_forked<W: Work<A, R>, A, R>(
    mut birth: Birth,
    function: fn(A) -> R,
    args: &impl Serialize,
) -> Result<Child<W::Value>, StartError> {
    reap_abandoned();
    let lease = Lease::new()?;
    crash::point();
    let (body, luggage) = encode(&(), args)?;
    crash::point();
    let ended = Ended::new().map_err(|_| StartError::OutOfDescriptors)?;
    let process = mp_sys::child::fork(|| {
        let outcome = lease.outcome();
        // The child has as many open descriptors as the parent had, so there may be no room for so many again.
        let copies = luggage.descriptors.iter().map(|file| file.try_clone()).collect::<Result<_, _>>();
        crash::point();
        match copies {
            Ok(copies) if whole::enter_forked(&mut birth) => {
                // No documented reason makes this fail. If it does, the child keeps ends that it does not use.
                if let Err(error) = ended.replace_all_but(&HashSet::new()) {
                    tracing::warn!(%error, "a child keeps ends of pipes that it was not passed");
                }
                crash::point();
                work::<W, A, R>(outcome, function, &body, copies)
            }
            Ok(_) => REFUSED_EXIT_CODE,
            Err(error) => {
                outcome.leave_bad_arguments(&error.to_string());
                REFUSED_EXIT_CODE
            }
        }
    })?;
    crash::point();
    Ok(Child::new(Running::add(Handle::Own(process), lease, None, birth.about)))
}

/// The envelope before the arguments: the stretch for the result; the parent's id; if the child dies with its parent (and so
/// gets its line), whether the starting thread lives as long as its process; whether it is a daemon; and the name.
type Envelope<'a> = (u64, u32, Option<bool>, bool, Option<&'a str>);

fn envelope<'a>(birth: &'a Birth, lease: &Lease) -> Envelope<'a> {
    let (_, stretch) = lease.outcome().address();
    let Birth { about, tie, parent_pid } = birth;
    (stretch, *parent_pid, tie.as_ref().map(|tie| tie.lives), about.daemon, about.name.as_deref())
}

/// Returns the bytes of a call (its envelope, then the arguments), and the descriptors that go with them.
fn encode(envelope: &impl Serialize, args: &impl Serialize) -> Result<(Vec<u8>, Luggage), StartError> {
    let envelope = postcard::to_stdvec(envelope).map_err(|error| StartError::Encode(error.to_string()))?;
    let before = envelope.len();
    let (encoded, luggage) =
        travel::encode_arguments(ARGUMENT_DESCRIPTORS_MAX, || postcard::to_extend(args, envelope));
    match (encoded, &luggage.refused) {
        (Ok(body), _) => {
            let bytes = body.len().saturating_sub(before);
            if bytes > ARGUMENT_BYTES_MAX {
                return Err(StartError::ArgumentsTooLarge { bytes, limit: ARGUMENT_BYTES_MAX });
            }
            wire::check(args, body.get(before..).unwrap_or_default(), None).map_err(StartError::Encode)?;
            Ok((body, luggage))
        }
        (Err(_), Some(TravelError::TooMany)) => Err(StartError::TooManyDescriptors),
        (Err(_), Some(refused)) => Err(StartError::Encode(refused.to_string())),
        (Err(error), None) => Err(StartError::Encode(wire::unencodable(args, &error))),
    }
}

/// The function by which the child does its work.
struct Worker<W>(PhantomData<W>);

impl<W: Work<A, R>, A, R> Run<A, R> for Worker<W> {
    fn run(function: fn(A) -> R, given: Given) -> i32 {
        let Given { body, descriptors, parent, starter } = given;
        let mut descriptors = descriptors.into_iter();
        let Some((file, (envelope, args))) =
            descriptors.next().zip(postcard::take_from_bytes::<Envelope<'_>>(&body).ok())
        else {
            return REFUSED_EXIT_CODE;
        };
        let (stretch, parent_pid, tied, daemon, name) = envelope;
        crash::point();
        if let Some(lives) = tied {
            let line = descriptors.next().map(Lifeline::of_descriptor);
            let holds = line.is_some_and(|line| line.hold(lives.then_some(starter)).unwrap_or(false));
            if !holds {
                return REFUSED_EXIT_CODE;
            }
        }
        crash::point();
        current::enter(parent_pid, name, daemon, Some(parent));
        crash::point();
        work::<W, A, R>(&Outcome::arrived(file, stretch), function, args, descriptors.collect())
    }
}

/// Does the work with the arguments in the bytes and descriptors, and leaves its result.
fn work<W: Work<A, R>, A, R>(
    outcome: &Outcome,
    function: fn(A) -> R,
    args: &[u8],
    descriptors: Vec<OwnedFd>,
) -> i32 {
    // Deserializing, serializing and dropping also run the user's code.
    whole::run(outcome, || match W::work(function, args, descriptors) {
        Ok(value) => {
            outcome.leave_value(&value);
            0
        }
        Err(reason) => {
            outcome.leave_bad_arguments(&reason);
            REFUSED_EXIT_CODE
        }
    })
}

pub(crate) fn decode<A: DeserializeOwned>(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<A, String> {
    let (decoded, refused) = travel::decode_arguments(descriptors, || postcard::from_bytes(bytes));
    decoded.map_err(|error| {
        refused.map_or_else(|| wire::undecodable::<A>(bytes, &error), |refused| refused.to_string())
    })
}
