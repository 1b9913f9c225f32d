//! The check of each answer.

use crate::client;
use crate::proto::version::NEWEST;
use crate::proto::{Answer, Payload};
use crate::wire::frame::{HEAD_BYTES, Head};
use crate::wire::outbound::Outbound;

/// Checks that an answer is understood after it was encoded.
pub(super) fn check_answer(call: u64, answer: &Answer<Payload>) {
    let (mut out, mut stream) = (Outbound::default(), Vec::new());
    out.agree_on(NEWEST);
    out.answer(call, answer, 1);
    let written = out.flush::<()>(|slices| {
        stream.reserve_exact(slices.iter().map(|slice| slice.len()).fold(0, usize::saturating_add));
        slices.iter().for_each(|slice| stream.extend_from_slice(slice));
        Ok(Some(slices.iter().map(|slice| slice.len()).fold(0, usize::saturating_add)))
    });
    assert_eq!(written, Ok(true));
    let Some((head, body)) = stream.split_first_chunk::<HEAD_BYTES>() else { panic!("an answer has a head") };
    let Some(head) = Head::of(head) else { panic!("an answer has a valid head") };
    assert_eq!((head.call, usize::try_from(head.body_len)), (call, Ok(body.len())));
    let understood = client::fuzz::understand(head.kind, body);
    assert_eq!(understood.as_ref(), Some(answer), "an answer arrives as it was sent");
}
