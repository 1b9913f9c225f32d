//! Numbers that this build does not know, as builds of other versions send them.

use crate::fuzzing::bytes::Source;
use crate::proto::limited::{self, Steps};
use crate::proto::{Call, Fault, Info, ObjectId, Payload, Raw, Step, Wait};
use crate::state::Effects;
use crate::wire::control::Control;
use crate::wire::decode::whole;
use crate::wire::frame::FrameKind;

/// What a client of a newer version may send: the numbers of a kind of object and of its operation, and its arguments.
pub(super) type Newer = (ObjectId, u64, Wait, u32, u32, (u64, Payload));

/// Makes the call of an operation that has probably no number here.
pub(super) fn call(object: ObjectId, source: &mut Source<'_>) -> Newer {
    let (kind, operation) = (u32::from(source.byte()) % 16, u32::from(source.byte()));
    let argument = Payload::copy(Raw::plain(&[source.byte(); 3]));
    (object, 0, source.wait(), kind, operation, (source.small(), argument))
}

/// Returns how a body has to be refused because of an unknown number, if it contains one.
pub(super) fn in_body(kind: FrameKind, body: &[u8], room: usize) -> Option<Fault> {
    let refused = match kind {
        FrameKind::Transaction => limited::within(room, body, whole::<Steps<Step<Raw<'_>>>>).err(),
        FrameKind::Call | FrameKind::Notice if Control::of(body).is_none() => {
            limited::within(room, body, whole::<Call<Raw<'_>>>).err()
        }
        _ => None,
    };
    refused.filter(|fault| matches!(fault, Fault::UnknownOperation { .. }))
}

/// Checks that a frame with an unknown number was only refused.
///
/// # Panics
/// If it was not, which is a finding.
pub(super) fn check(refusal: Option<Fault>, kind: FrameKind, effects: &Effects, before: Info, after: Info) {
    let Some(fault) = refusal else { return };
    let answers: Vec<_> = effects.answers.iter().map(|answered| answered.answer.clone()).collect();
    let is_notice = kind == FrameKind::Notice;
    assert!(if is_notice { answers.is_empty() } else { answers == [Err(fault)] }, "{fault:?}: {answers:?}");
    let after = Info { bytes: before.bytes, ..after };
    assert_eq!(after, before, "an unknown operation has changed something");
}
