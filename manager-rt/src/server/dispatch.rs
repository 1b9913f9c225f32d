//! Running one frame of a client on the state machine.

use crate::proto::{Call, Fault, Raw, Step};
use crate::state::{Caller, Effects, Heard, State};
use crate::wire::decode::whole;
use crate::wire::frame::FrameKind;

/// Runs the request in a frame, unless it has to be repeated later. A frame that is not a request is answered as
/// malformed, and the stream goes on, since its frames are still whole.
pub(crate) fn run(
    state: &mut State,
    caller: Caller<'_>,
    kind: FrameKind,
    body: &[u8],
    effects: &mut Effects,
) -> Heard {
    match kind {
        FrameKind::Call => match whole::<Call<Raw<'_>>>(body) {
            Some(call) => return state.apply(caller, call, effects),
            None => state.refuse(caller, Fault::Malformed, effects),
        },
        FrameKind::Transaction => match whole::<Vec<Step<Raw<'_>>>>(body) {
            Some(steps) => return state.transaction(caller, steps, effects),
            None => state.refuse(caller, Fault::Malformed, effects),
        },
        FrameKind::Notice => match whole::<Call<Raw<'_>>>(body) {
            Some(call) => return state.notice(caller, call, effects),
            None => tracing::debug!("a notice is malformed"),
        },
        FrameKind::Welcome | FrameKind::Reply | FrameKind::Fault => {
            state.refuse(caller, Fault::Malformed, effects);
        }
    }
    Heard::Done
}
