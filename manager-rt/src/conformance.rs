//! What every backend must do, as tests that work on any number of clients of one manager.
//!
//! A backend implements [`Fixture`] and runs [`all`], each test with a new manager. The tests know no more of a backend
//! than [`Backend`](crate::Backend) and [`Caps`](crate::Caps) provide: each promise of `Caps` switches what they check.
//! A test panics if the backend is wrong. It waits for nothing longer than [`PATIENCE`], and
//! [`Fixture::death_bound`] if a client has died, and sleeps for no fixed time.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![cfg_attr(
    not(test),
    expect(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "a test fails by a panic")
)]

mod array;
mod barrier;
mod batch;
mod borrowed;
mod caps;
mod condition;
mod dict;
mod event;
mod fair;
mod joinable_queue;
mod list;
mod lock;
mod names;
mod namespace;
mod queue;
mod rlock;
mod semaphore;
mod travel;
mod value;

#[cfg(any(feature = "redis", feature = "rabbitmq"))]
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(any(feature = "redis", feature = "rabbitmq"))]
use mp_sys::deadline::Deadline;

#[cfg(any(feature = "redis", feature = "rabbitmq"))]
use crate::address::{Address, Endpoint};
use crate::backend::{Caps, Kinds, References};
use crate::proto::Kind;
use crate::{CallError, Manager, ObjectError, TransactionError};

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// The timeout of calls that must time out. Nothing can end them earlier, so it may be short.
const MOMENT: Duration = Duration::from_millis(1);

/// A manager without objects, and a way to become its client.
pub trait Fixture: Sync {
    /// Connects one more client of the manager.
    fn client(&self) -> Manager;

    /// Ends a client of this fixture as the death of its process would, even while its calls wait. It never reaches the
    /// manager again. The proxies that it made are dropped later.
    fn kill(&self, client: &Manager);

    /// Returns the number of calls that wait now.
    fn waiting(&self) -> u64;

    /// Returns the number of objects.
    fn objects(&self) -> u64;

    /// Returns how long after a death others may have to wait for what the dead client held.
    fn death_bound(&self) -> Duration;

    /// Lets another host take over from the one that runs the manager, or does what comes next to that. Returns `false`
    /// if there is no such thing.
    fn fail_over(&self) -> bool {
        false
    }

    /// Returns what the backend of the clients can do.
    fn caps(&self) -> Caps {
        self.client().backend().caps()
    }
}

/// A test.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// Its name, with the module.
    pub name: &'static str,
    /// The kinds of objects that it uses.
    pub kinds: Kinds,
    run: fn(&dyn Fixture),
}

impl Test {
    /// Returns `true` if a backend has the kinds of objects that the test uses.
    #[must_use]
    pub const fn applies_to(&self, caps: &Caps) -> bool {
        caps.kinds.contains_all(self.kinds)
    }

    /// Runs the test with a new manager.
    ///
    /// # Panics
    /// If the backend is wrong.
    pub fn run(&self, fixture: &dyn Fixture) {
        (self.run)(fixture);
    }
}

/// Returns all tests.
#[must_use]
pub fn all() -> Vec<Test> {
    [
        array::TESTS,
        barrier::TESTS,
        batch::TESTS,
        borrowed::TESTS,
        caps::TESTS,
        condition::TESTS,
        dict::TESTS,
        event::TESTS,
        fair::TESTS,
        joinable_queue::TESTS,
        list::TESTS,
        lock::TESTS,
        names::TESTS,
        namespace::TESTS,
        queue::TESTS,
        rlock::TESTS,
        semaphore::TESTS,
        travel::TESTS,
        value::TESTS,
    ]
    .concat()
}

/// Lists tests by the kinds of objects that they use, named after their functions.
macro_rules! tests {
    (@kinds [$($kind:ident),*]) => {
        crate::backend::Kinds::of(&[$(crate::proto::Kind::$kind),*])
    };
    ($($kinds:tt { $($test:ident),+ $(,)? })+) => {
        pub(super) const TESTS: &[crate::conformance::Test] = &[$($(
            crate::conformance::Test {
                name: concat!(module_path!(), "::", stringify!($test)),
                kinds: crate::conformance::tests!(@kinds $kinds),
                run: $test,
            },
        )+)+];
    };
}

use tests;

/// Connects to a Redis server, as a client that a test can end.
///
/// # Panics
/// If the server cannot be reached.
#[cfg(feature = "redis")]
#[must_use]
pub fn redis_client(url: &str) -> Arc<crate::Redis> {
    let address: Address = url.parse().unwrap();
    let Endpoint::Redis(redis) = address.endpoint() else {
        panic!("{url} is not the address of a Redis server")
    };
    let (key, deadline) = (crate::Key::default(), Deadline::after(PATIENCE));
    let client = Arc::new(crate::Redis::connect(&address, redis, &key, deadline).unwrap());
    let backend: Arc<dyn crate::Backend> = Arc::<crate::Redis>::clone(&client);
    crate::registry::register(&backend);
    client
}

/// A client of a RabbitMQ server that a test can end.
#[cfg(feature = "rabbitmq")]
#[derive(Debug)]
pub struct RabbitMqClient(Arc<crate::engine::RabbitMq>);

#[cfg(feature = "rabbitmq")]
impl RabbitMqClient {
    /// Connects to a server.
    ///
    /// # Panics
    /// If the server cannot be reached.
    #[must_use]
    pub fn connect(url: &str) -> Self {
        let (address, password) = Address::with_password(url).unwrap();
        let Endpoint::RabbitMq(rabbitmq) = address.endpoint() else {
            panic!("{url} is not the address of a RabbitMQ server")
        };
        let (key, deadline) = (password.unwrap_or_default(), Deadline::after(PATIENCE));
        Self(Arc::new(crate::engine::RabbitMq::connect(&address, rabbitmq, &key, deadline).unwrap()))
    }

    /// Returns a manager over the client.
    #[must_use]
    pub fn manager(&self) -> Manager {
        Manager::with(Arc::<crate::engine::RabbitMq>::clone(&self.0))
    }

    /// Returns `true` if the manager is over this client.
    #[must_use]
    pub fn is_of(&self, manager: &Manager) -> bool {
        Arc::as_ptr(manager.backend()).cast::<()>() == Arc::as_ptr(&self.0).cast::<()>()
    }

    /// Ends the client, as the death of its process would.
    pub fn disconnect(&self) {
        self.0.disconnect();
    }

    /// Returns how many of its calls wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.0.waiting().unwrap_or_default()
    }
}

/// A client of a manager in two servers that a test can end.
#[cfg(all(feature = "redis", feature = "rabbitmq"))]
#[derive(Debug)]
pub struct MixedClient(Arc<crate::engine::Mixed>);

#[cfg(all(feature = "redis", feature = "rabbitmq"))]
impl MixedClient {
    /// Connects to the servers.
    ///
    /// # Panics
    /// If they cannot be reached.
    #[must_use]
    pub fn connect(url: &str) -> Self {
        let (address, passwords) = Address::with_password(url).unwrap();
        let deadline = Deadline::after(PATIENCE);
        let mixed = crate::registry::connect_mixed(&address, &passwords.unwrap_or_default(), deadline);
        Self(Arc::new(mixed.unwrap()))
    }

    /// Returns a manager over the client.
    #[must_use]
    pub fn manager(&self) -> Manager {
        Manager::with(Arc::<crate::engine::Mixed>::clone(&self.0))
    }

    /// Returns `true` if the manager is over this client.
    #[must_use]
    pub fn is_of(&self, manager: &Manager) -> bool {
        Arc::as_ptr(manager.backend()).cast::<()>() == Arc::as_ptr(&self.0).cast::<()>()
    }

    /// Ends the client, as the death of its process would.
    pub fn disconnect(&self) {
        self.0.disconnect();
    }

    /// Returns how many of its calls wait for RabbitMQ.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.0.waiting().unwrap_or_default()
    }
}

/// Waits until a condition holds.
#[track_caller]
fn until(what: &str, holds: impl FnMut() -> bool) {
    until_within(PATIENCE, what, holds);
}

#[track_caller]
fn until_within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < patience, "{what} did not happen");
        std::thread::yield_now();
    }
}

/// Returns how long a test waits for something that a death must cause.
fn patience(fixture: &dyn Fixture) -> Duration {
    PATIENCE + fixture.death_bound()
}

/// Waits for something that a death must cause.
#[track_caller]
fn until_dead(fixture: &dyn Fixture, what: &str, holds: impl FnMut() -> bool) {
    until_within(patience(fixture), what, holds);
}

/// Waits until this many calls wait at the manager.
#[track_caller]
fn until_waiting(fixture: &dyn Fixture, waiting: u64) {
    until("the wait", || fixture.waiting() == waiting);
}

/// Checks how many objects the manager has, if it counts the proxies of each.
#[track_caller]
fn assert_objects(fixture: &dyn Fixture, objects: u64) {
    if fixture.caps().references == References::Counted {
        assert_eq!(fixture.objects(), objects);
    }
}

/// Waits until the manager has this many objects, if it finds out that objects have no proxies.
#[track_caller]
fn until_objects(fixture: &dyn Fixture, what: &str, objects: u64) {
    if fixture.caps().references != References::None {
        until_dead(fixture, what, || fixture.objects() == objects);
    }
}

/// Returns `true` if the backend has transactions. Otherwise checks that the client refuses them.
#[track_caller]
fn has_transactions(client: &Manager) -> bool {
    let caps = client.backend().caps();
    if !caps.transactions {
        let (kind, backend) = (Kind::Manager, caps.name);
        let unsupported = CallError::Unsupported { kind, what: "transactions", backend };
        let refused = client.transaction(|_| ());
        assert_eq!(refused, Err(TransactionError::Object(ObjectError::Call(unsupported))));
    }
    caps.transactions
}

/// Returns `true` if operations of queues can be part of transactions. Otherwise checks that the backend refuses them.
#[track_caller]
fn has_queue_transactions(client: &Manager) -> bool {
    let caps = client.backend().caps();
    if has_transactions(client) && !caps.queue_transactions {
        let queue = client.queue::<u8>().unwrap();
        let refused = client.transaction(|t| t.on(&queue).len());
        let (kind, backend) = (Kind::Queue, caps.name);
        let unsupported = CallError::Unsupported { kind, what: "transactions", backend };
        assert_eq!(refused, Err(TransactionError::Object(ObjectError::Call(unsupported))));
    }
    caps.transactions && caps.queue_transactions
}

/// Checks the close of a queue by a backend that does not promise it: it closed the queue, or refused and did nothing.
#[track_caller]
fn assert_closed_or_refused(
    closed: Result<(), ObjectError>,
    is_closed: Result<bool, ObjectError>,
    caps: &Caps,
    kind: Kind,
) {
    let refused = CallError::Unsupported { kind, what: "closing", backend: caps.name };
    assert_eq!(is_closed, Ok(closed.is_ok()));
    assert!(closed.is_ok() || closed == Err(refused.into()), "{closed:?}");
}

/// Returns the error of putting several items at once, for a backend that cannot do that.
fn not_at_once(caps: &Caps, kind: Kind) -> CallError {
    CallError::Unsupported { kind, what: "putting several items in one call", backend: caps.name }
}
