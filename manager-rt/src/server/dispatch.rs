//! Running one frame of a client on the state machine.

use crate::proto::limited::{self, Steps};
use crate::proto::{Call, Fault, Raw, Step};
use crate::state::{Caller, Effects, Heard, State};
use crate::wire::control::Control;
use crate::wire::decode::whole;
use crate::wire::frame::FrameKind;
use crate::wire::together::Together;

/// Runs the request in a frame, unless it has to be repeated later. A frame that is not a request, or one beyond a
/// limit, is refused, and the stream goes on, since its frames are still whole.
pub(crate) fn run(
    state: &mut State,
    caller: Caller<'_>,
    kind: FrameKind,
    body: &[u8],
    effects: &mut Effects,
) -> Heard {
    let room = state.decoded_bytes_max();
    let call = |body| limited::within(room, body, whole::<Call<Raw<'_>>>);
    match kind {
        FrameKind::Call => match call(body) {
            Ok(call) => return state.apply(caller, call, effects),
            Err(fault) => match Control::of(body) {
                Some(control) => return state.control(caller, control, true, effects),
                None => state.refuse(caller, fault, effects),
            },
        },
        FrameKind::Transaction => match limited::within(room, body, whole::<Steps<Step<Raw<'_>>>>) {
            Ok(Steps(steps)) => return state.transaction(caller, steps, effects),
            Err(fault) => state.refuse(caller, fault, effects),
        },
        FrameKind::Notice => match call(body) {
            Ok(call) => return state.notice(caller, call, effects),
            Err(fault) => match Control::of(body) {
                Some(control) => return state.control(caller, control, false, effects),
                None => tracing::debug!(%fault, "a notice is refused"),
            },
        },
        FrameKind::Calls(count) => match Together::of(body) {
            Some(mut together) => return state.apply_together(caller, (&mut together, count), effects),
            None => state.refuse_together(caller, (Fault::Malformed, count), effects),
        },
        FrameKind::Welcome | FrameKind::Reply | FrameKind::Fault | FrameKind::Answers(_) => {
            state.refuse(caller, Fault::Malformed, effects);
        }
    }
    Heard::Done
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::count::count_of;
    use crate::limits::{
        DECODED_BYTES_MIN, DECODED_SHARE, ENTRIES_AT_ONCE_MAX, ORDER_ITEMS_MAX, TRANSACTION_OPS_MAX,
        VALUES_AT_ONCE_MAX,
    };
    use crate::proto::{
        Answer, ArrayOp, DictOp, EventOp, ListOp, ManagerOp, Number, ObjectId, Op, Payload, QueueOp, Room,
        Spec, Wait,
    };
    use crate::state::Limits;

    #[expect(clippy::panic_in_result_fn, reason = "the error is one of the manager's answers")]
    fn answer_to(limits: Limits, kind: FrameKind, body: &[u8]) -> Answer<Payload> {
        let mut state = State::new(limits);
        let client = state.connect().unwrap();
        let (frame, mut effects) = (Bytes::new(), Effects::default());
        let caller = Caller { client, call: 1, now: 0, frame: &frame, is_settled: true };
        assert_eq!(run(&mut state, caller, kind, body, &mut effects), Heard::Done);
        effects.answers.pop().unwrap().answer
    }

    fn call(object: u64, op: Op<Raw<'_>>) -> Vec<u8> {
        postcard::to_allocvec(&Call { object: ObjectId(object), thread: 1, wait: Wait::No, op }).unwrap()
    }

    /// Makes an operation with a sequence of this length.
    type Make = fn(usize) -> Op<Raw<'static>>;

    #[test]
    fn sequences_are_refused_before_they_are_decoded() {
        let values = |count| vec![Raw::default(); count];
        let cases: [(usize, Make); 5] = [
            (VALUES_AT_ONCE_MAX, |count| Op::List(ListOp::Extend(vec![Raw::default(); count]))),
            (VALUES_AT_ONCE_MAX, |count| {
                Op::Array(ArrayOp::Write { at: 0, elements: vec![Raw::default(); count] })
            }),
            (ENTRIES_AT_ONCE_MAX, |count| {
                Op::Dict(DictOp::Extend(vec![(Raw::default(), Raw::default()); count]))
            }),
            (ENTRIES_AT_ONCE_MAX, |count| {
                Op::Dict(DictOp::FetchAddMany(vec![(Raw::default(), Number::U8(1)); count]))
            }),
            (ORDER_ITEMS_MAX, |count| Op::List(ListOp::Reorder { version: 0, order: vec![0; count] })),
        ];
        for (limit, op) in cases {
            // There is no such object, which is found out only after decoding.
            let within = answer_to(Limits::default(), FrameKind::Call, &call(99, op(limit)));
            assert_eq!(within, Err(Fault::UnknownObject));
            let above = answer_to(Limits::default(), FrameKind::Call, &call(99, op(limit + 1)));
            assert_eq!(above, Err(Fault::TooMany { limit: count_of(limit) }));
        }
        let make = |count| {
            let spec = Spec::Array(values(count));
            call(0, Op::Manager(ManagerOp::Create { spec, print: 1 }))
        };
        assert!(answer_to(Limits::default(), FrameKind::Call, &make(VALUES_AT_ONCE_MAX)).is_ok());
        let above = answer_to(Limits::default(), FrameKind::Call, &make(VALUES_AT_ONCE_MAX + 1));
        assert_eq!(above, Err(Fault::TooMany { limit: count_of(VALUES_AT_ONCE_MAX) }));
    }

    #[test]
    fn a_transaction_is_refused_before_it_is_decoded() {
        let step = || Step { object: ObjectId(99), op: Op::<Raw<'_>>::Event(EventOp::IsSet) };
        for (count, expected) in [
            (TRANSACTION_OPS_MAX, Fault::UnknownObject),
            (TRANSACTION_OPS_MAX + 1, Fault::TooMany { limit: count_of(TRANSACTION_OPS_MAX) }),
        ] {
            let steps: Vec<_> = (0..count).map(|_| step()).collect();
            let body = postcard::to_allocvec(&steps).unwrap();
            assert_eq!(answer_to(Limits::default(), FrameKind::Transaction, &body), Err(expected));
        }
    }

    #[test]
    fn the_room_for_decoded_sequences_depends_on_the_memory_of_the_manager() {
        let put = |items| call(99, Op::Queue(QueueOp::PutMany(vec![Raw::default(); items])));
        for memory_bytes in [0, 256 << 20] {
            let limits = Limits { memory_bytes, ..Limits::default() };
            let room = DECODED_BYTES_MIN.max(memory_bytes / DECODED_SHARE);
            let most = room / size_of::<Raw<'_>>();
            assert_eq!(answer_to(limits, FrameKind::Call, &put(most)), Err(Fault::UnknownObject));
            let (limit, asked) = (count_of(room), count_of((most + 1) * size_of::<Raw<'_>>()));
            let full = Fault::NoRoom { room: Room::Decoded, limit, asked };
            assert_eq!(answer_to(limits, FrameKind::Call, &put(most + 1)), Err(full));
        }
    }
}
