//! Operations of the manager that are not finished: those that concern very many objects go on in steps.

use std::ops::RangeInclusive;
use std::vec::IntoIter;

use crate::account::Charge;
use crate::proto::ObjectId;
use crate::state::step::{ClientId, EncodedNames};

/// What an answer needs for a name apart from its text, at most, in bytes.
pub(super) const NAME_OVERHEAD_BYTES: usize = 2;

/// What is left of an operation.
#[derive(Debug)]
pub(super) enum Rest {
    /// The caller gets references to these objects, all of them or none.
    Attach {
        objects: Vec<ObjectId>,
        /// To how many of them it has one already.
        done: usize,
    },
    /// An object did not exist, so the caller loses the references to the first `left` of these objects again.
    TakeBack { objects: Vec<ObjectId>, left: usize },
    /// The caller's references to these objects are released.
    Detach { references: IntoIter<(ObjectId, u64)>, lingers: bool },
    /// These objects stay alive for a while.
    Transit(IntoIter<ObjectId>),
    /// The heirs get a reference to each object of the caller after this one.
    Bequeath { heirs: ClientId, after: Option<ObjectId> },
    /// What left with the answers to these calls of the caller is forgotten, because it has read them.
    Taken(RangeInclusive<u64>),
    /// All names are listed.
    Names(Listing),
}

/// A list of all names, as far as it is encoded.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) names: EncodedNames,
    /// The page that is not full yet.
    pub(super) page: Vec<u8>,
    /// The newest name.
    pub(super) last: String,
    /// What the names take in the answer, at most, in bytes.
    pub(super) bytes: usize,
}

/// An operation that later steps continue. Until it is finished, its client has no other turn.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// The call to answer; `None` for a notice.
    pub(super) call: Option<u64>,
    pub(super) rest: Rest,
    /// What it takes until it is finished.
    pub(super) _charge: Charge,
}

impl Rest {
    /// Returns what it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Attach { objects, .. } | Self::TakeBack { objects, .. } => size_of_val(&**objects),
            Self::Detach { references, .. } => size_of_val(references.as_slice()),
            Self::Transit(objects) => size_of_val(objects.as_slice()),
            // The pages of a list are charged one by one.
            Self::Bequeath { .. } | Self::Taken(_) | Self::Names(_) => 0,
        }
    }
}
