//! The call of an operation: on which object, by which thread, and how long it may wait.

use serde::{Deserialize, Serialize};

use crate::proto::{Fault, ObjectId, Op, Reply};

/// How long an operation may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// At most this many nanoseconds after the server reads the call.
    For(u64),
    /// For ever.
    Forever,
}

/// The body of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call<P> {
    /// The object.
    pub object: ObjectId,
    /// The thread of the client, for holdings that belong to threads.
    pub thread: u64,
    /// How long the call may wait.
    pub wait: Wait,
    /// The operation.
    pub op: Op<P>,
}

/// A [`Call`] whose operation is lent. Its encoding is the same.
#[derive(Debug, Serialize)]
pub(crate) struct LentCall<'a, P> {
    pub(crate) object: ObjectId,
    pub(crate) thread: u64,
    pub(crate) wait: Wait,
    pub(crate) op: &'a Op<P>,
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step<P> {
    /// The object.
    pub object: ObjectId,
    /// The operation.
    pub op: Op<P>,
}

/// The body of an answer.
pub type Answer<P> = Result<Reply<P>, Fault>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{DictOp, Raw};

    #[test]
    fn a_lent_call_is_encoded_as_a_call_is() {
        let op = Op::Dict(DictOp::Insert(Raw::plain(b"key"), Raw::plain(b"value")));
        let (object, thread, wait) = (ObjectId(700), 300, Wait::For(5));
        let lent = postcard::to_allocvec(&LentCall { object, thread, wait, op: &op });
        let call = Call { object, thread, wait, op };
        assert_eq!(lent, postcard::to_allocvec(&call));
    }
}
