//! Tickets: the future results of a batch's operations, and how they are read from the answers.

use std::fmt;
use std::sync::Arc;

use mp_sys::line::Short;

use crate::backend::{Backend, CallError};
use crate::error::ObjectError;
use crate::proto::{Answer, Fault, Payload, Reply};
use crate::proxy::{Read, read};

/// The answers to a batch. When dropped, it releases what came with answers that were not read.
#[derive(Debug)]
#[expect(unnameable_types, reason = "only this crate turns tickets into results")]
pub struct Answers {
    backend: Arc<dyn Backend>,
    /// The answers in order. One that was read is [`TAKEN`].
    left: Vec<Answer<Payload>>,
}

/// What stands in the place of an answer that was read.
const TAKEN: Answer<Payload> = Err(Fault::Malformed);

impl Answers {
    pub(super) fn new(backend: &Arc<dyn Backend>, left: Vec<Answer<Payload>>) -> Self {
        Self { backend: Arc::clone(backend), left }
    }

    fn take(&mut self, at: usize) -> Result<Reply<Payload>, ObjectError> {
        match self.left.get_mut(at).map(|answer| std::mem::replace(answer, TAKEN)) {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(fault)) => Err(CallError::Fault(fault).into()),
            None => Err(CallError::Protocol.into()),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        for reply in self.left.drain(..).flatten() {
            read::discard(&self.backend, &reply);
        }
    }
}

/// The future result of an operation of a batch.
#[must_use = "the result of the operation is lost"]
pub struct Ticket<R> {
    at: usize,
    read: Read<R>,
}

impl<R> Ticket<R> {
    pub(super) fn new(at: usize, read: Read<R>) -> Self {
        Self { at, read }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }
}

impl<R> fmt::Debug for Ticket<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.at)
    }
}

/// A task that a batch will finish.
#[must_use = "the task is lost"]
pub struct Done<T> {
    ticket: Ticket<()>,
    task: T,
}

impl<T> Done<T> {
    pub(super) fn new(ticket: Ticket<()>, task: T) -> Self {
        Self { ticket, task }
    }
}

/// What the closure of a batch may return: nothing, a [`Ticket`], a [`Done`], or tuples and vectors of them.
///
/// A transaction turns each ticket into the result of its operation. A pipeline turns each into a `Result` of its own.
pub trait Tickets {
    /// What a transaction returns.
    type All;
    /// What a pipeline returns.
    type Each;

    /// Reads the results of all operations.
    #[doc(hidden)]
    fn all(self, answers: &mut Answers) -> Result<Self::All, ObjectError>;

    /// Reads the result of each operation.
    #[doc(hidden)]
    fn each(self, answers: &mut Answers) -> Self::Each;
}

impl<R> Tickets for Ticket<R> {
    type All = R;
    type Each = Result<R, ObjectError>;

    fn all(self, answers: &mut Answers) -> Result<R, ObjectError> {
        let reply = answers.take(self.at)?;
        (self.read)(&answers.backend, reply)
    }

    fn each(self, answers: &mut Answers) -> Self::Each {
        self.all(answers)
    }
}

impl<T> Tickets for Done<T> {
    type All = T;
    type Each = Result<T, ObjectError>;

    fn all(self, answers: &mut Answers) -> Result<T, ObjectError> {
        self.ticket.all(answers).map(|()| self.task)
    }

    fn each(self, answers: &mut Answers) -> Self::Each {
        self.all(answers)
    }
}

impl<T: Tickets> Tickets for Vec<T> {
    type All = Vec<T::All>;
    type Each = Vec<T::Each>;

    fn all(self, answers: &mut Answers) -> Result<Self::All, ObjectError> {
        self.into_iter().map(|ticket| ticket.all(answers)).collect()
    }

    fn each(self, answers: &mut Answers) -> Self::Each {
        self.into_iter().map(|ticket| ticket.each(answers)).collect()
    }
}

macro_rules! tuples {
    ($(($($ticket:ident),*)),+ $(,)?) => {
        $(
            #[expect(non_snake_case, reason = "each ticket has the name of its type")]
            impl<$($ticket: Tickets),*> Tickets for ($($ticket,)*) {
                type All = ($($ticket::All,)*);
                type Each = ($($ticket::Each,)*);

                fn all(self, answers: &mut Answers) -> Result<Self::All, ObjectError> {
                    let ($($ticket,)*) = self;
                    Ok(($($ticket.all(answers)?,)*))
                }

                fn each(self, answers: &mut Answers) -> Self::Each {
                    let ($($ticket,)*) = self;
                    ($($ticket.each(answers),)*)
                }
            }
        )+
    };
}

tuples!((A), (A, B), (A, B, C), (A, B, C, D), (A, B, C, D, E), (A, B, C, D, E, F));

impl Tickets for () {
    type All = ();
    type Each = ();

    fn all(self, _: &mut Answers) -> Result<(), ObjectError> {
        Ok(())
    }

    fn each(self, _: &mut Answers) {}
}

impl<T: fmt::Debug> fmt::Debug for Done<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Done({}, {:?})", Short(&self.task), self.ticket)
    }
}
