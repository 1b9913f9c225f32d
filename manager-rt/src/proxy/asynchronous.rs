//! The async forms of the proxies' methods: `get_async` beside `get`, and so on.
//!
//! Each method encodes its arguments at once, and returns a future that runs the operation over the process's
//! connection. Everything that differs from the blocking methods is here and in
//! [`Backend::call_async`](crate::Backend::call_async); the files below have one method for each operation.
//!
//! No future blocks the thread that polls it, and neither does dropping what it returned: guards, permits and tasks of
//! queues that a task took are released by a message without an answer.

mod array;
mod barrier;
mod condition;
mod dict;
mod event;
mod joinable_queue;
mod list;
mod lock;
mod namespace;
mod queue;
mod semaphore;
mod value;

use mp_sys::identity::thread_number;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::lock::TaskGuard;
use crate::backend::Pending;
use crate::error::ObjectError;
use crate::proto::{Call, Op, Payload, Raw, Reply, Wait};
use crate::proxy::{Handle, Read, Values, codec, read};

impl Handle {
    /// Begins an operation.
    fn call_async(&self, op: Op<Raw<'_>>, wait: Wait) -> Pending {
        self.call_as(thread_number(), op, wait)
    }

    /// Begins an operation of an owner with this number.
    fn call_as(&self, thread: u64, op: Op<Raw<'_>>, wait: Wait) -> Pending {
        if let Err(error) = self.check(&op) {
            return Box::pin(std::future::ready(Err(error)));
        }
        self.backend().clone().call_async(Call { object: self.id(), thread, wait, op })
    }

    /// Runs an operation that releases something, without waiting for its answer.
    pub(super) fn post(&self, op: Op<Raw<'_>>) {
        self.backend().post(Call { object: self.id(), thread: thread_number(), wait: Wait::No, op });
    }

    /// Begins an operation, and decodes its answer.
    fn wait_async<R, E: From<ObjectError>>(
        &self,
        op: Op<Raw<'_>>,
        wait: Wait,
        read: Read<R>,
    ) -> impl Future<Output = Result<R, E>> + Send + use<'_, R, E> {
        self.decode_async(Ok(self.call_async(op, wait)), read)
    }

    /// Like [`wait_async`](Self::wait_async), for an operation that does not wait.
    fn ask_async<R, E: From<ObjectError>>(
        &self,
        op: Op<Raw<'_>>,
        read: Read<R>,
    ) -> impl Future<Output = Result<R, E>> + Send + use<'_, R, E> {
        self.wait_async(op, Wait::No, read)
    }

    /// Encodes values, and begins an operation with them.
    fn begin_with<V>(
        &self,
        encode: impl FnOnce(&mut Values) -> Result<V, ObjectError>,
        op: impl for<'r> FnOnce(&'r Values, V) -> Op<Raw<'r>>,
        wait: Wait,
    ) -> Result<Pending, ObjectError> {
        let mut values = self.values();
        let encoded = encode(&mut values)?;
        Ok(self.call_async(op(&values, encoded), wait))
    }

    /// Begins an operation with one value, and decodes its answer.
    fn with_one_async<T: Serialize + ?Sized, R, E: From<ObjectError>>(
        &self,
        value: &T,
        op: impl for<'r> FnOnce(Raw<'r>) -> Op<Raw<'r>>,
        wait: Wait,
        read: Read<R>,
    ) -> impl Future<Output = Result<R, E>> + Send {
        let pending =
            self.begin_with(|values| values.add(value), |values, number| op(values.raw(number)), wait);
        self.decode_async(pending, read)
    }

    /// Begins an operation with two values, and decodes its answer.
    fn with_two_async<T: Serialize + ?Sized, U: Serialize + ?Sized, R, E: From<ObjectError>>(
        &self,
        (one, other): (&T, &U),
        op: impl for<'r> FnOnce(Raw<'r>, Raw<'r>) -> Op<Raw<'r>>,
        read: Read<R>,
    ) -> impl Future<Output = Result<R, E>> + Send {
        let pending = self.begin_with(
            |values| Ok((values.add(one)?, values.add(other)?)),
            |values, (one, other)| op(values.raw(one), values.raw(other)),
            Wait::No,
        );
        self.decode_async(pending, read)
    }

    /// Begins an operation with any number of values, and decodes its answer.
    fn with_all_async<'a, T: Serialize + ?Sized + 'a, R, E: From<ObjectError>>(
        &self,
        all: impl IntoIterator<Item = &'a T>,
        op: impl for<'r> FnOnce(Vec<Raw<'r>>) -> Op<Raw<'r>>,
        wait: Wait,
        read: Read<R>,
    ) -> impl Future<Output = Result<R, E>> + Send {
        let pending = self.begin_with(
            |values| all.into_iter().try_for_each(|value| values.add(value).map(drop)),
            |values, ()| op(values.raws().collect()),
            wait,
        );
        self.decode_async(pending, read)
    }

    /// Decodes the answer to an operation that was begun.
    fn decode_async<R, E: From<ObjectError>>(
        &self,
        pending: Result<Pending, ObjectError>,
        read: Read<R>,
    ) -> impl Future<Output = Result<R, E>> + Send + use<'_, R, E> {
        let backend = self.backend();
        async move { Ok(read(backend, pending?.await.map_err(ObjectError::from)?)?) }
    }

    /// The async form of [`update`](Self::update).
    async fn update_async<T: Serialize + DeserializeOwned + Send>(
        &self,
        get: Pending,
        exchange: impl for<'r> Fn(Raw<'r>, Raw<'r>) -> Op<Raw<'r>> + Send,
        mut change: impl FnMut(T) -> T + Send,
    ) -> Result<T, ObjectError> {
        let mut reply = get.await?;
        loop {
            let (Reply::Value(found) | Reply::Found(Some(found))) = reply else {
                return read::unexpected(self.backend(), &reply);
            };
            // Taken at once: it keeps the objects inside alive while the second copy is decoded.
            let previous = codec::take(self.backend(), &found)?;
            let pending = self.exchange(&found, &exchange, &mut change)?;
            reply = pending.await?;
            if reply == Reply::Bool(true) {
                return Ok(previous);
            }
        }
    }

    fn exchange<T: Serialize + DeserializeOwned>(
        &self,
        found: &Payload,
        exchange: &impl for<'r> Fn(Raw<'r>, Raw<'r>) -> Op<Raw<'r>>,
        change: &mut impl FnMut(T) -> T,
    ) -> Result<Pending, ObjectError> {
        let current = codec::look(self.backend(), found.raw())?;
        let mut values = self.values();
        let new = values.add(&change(current))?;
        Ok(self.call_async(exchange(found.raw(), values.raw(new)), Wait::No))
    }
}
