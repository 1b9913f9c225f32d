//! Tests of both sides in one process, byte by byte and with every change.

use super::*;

const TERMS: Terms<'static> = Terms { magic: *b"mp-test1", key: b"key", sends: 1, receives: 2, offer: None };

/// Returns terms with these versions. A peer that offers none has version 3.
const fn versioned(oldest: u16, newest: u16) -> Terms<'static> {
    let offer = Offer { versions: Versions { oldest, newest }, silent: 3 };
    Terms { offer: Some(offer), ..TERMS }
}

/// Runs both sides until both agree or one refuses; returns the end of the listening side, then that of the connecting
/// side. `tamper` may change what is sent, and receives the number of the step.
fn meet(
    listens: Terms<'_>,
    connects: Terms<'_>,
    tamper: impl Fn(usize, &mut Vec<u8>),
) -> (Result<(), Refusal>, Result<(), Refusal>) {
    let (listening, connecting) = negotiate(listens, connects, tamper);
    (listening.map(drop), connecting.map(drop))
}

/// The version on which a side agreed, or why it refused.
type Outcome = Result<Option<Agreed>, Refusal>;

/// Works as [`meet`] does, and returns the versions.
fn negotiate(
    listens: Terms<'_>,
    connects: Terms<'_>,
    tamper: impl Fn(usize, &mut Vec<u8>),
) -> (Outcome, Outcome) {
    let mut listening = Listening::new([7; NONCE]);
    let (mut connecting, mut said) = Connecting::new(connects, [9; NONCE]);
    let mut outcomes = (Err(Refusal::Malformed), Err(Refusal::Malformed));
    for step in 0..4 {
        tamper(step, &mut said);
        let is_listener = step % 2 == 0;
        let next =
            if is_listener { listening.hear(listens, &said) } else { connecting.hear(connects, &said) };
        let agreed = if is_listener { listening.agreed() } else { connecting.agreed() };
        let mine = if is_listener { &mut outcomes.0 } else { &mut outcomes.1 };
        match next {
            Next::Wait => return outcomes,
            Next::Say(bytes) => said = bytes,
            Next::Agree(bytes) => {
                *mine = Ok(agreed);
                said = bytes;
            }
            Next::Refuse(bytes, refusal) => {
                *mine = Err(refusal);
                if bytes.is_empty() {
                    return outcomes;
                }
                said = bytes;
            }
        }
    }
    outcomes
}

fn as_said(_: usize, _: &mut Vec<u8>) {}

#[test]
fn equal_terms_agree() {
    assert_eq!(meet(TERMS, TERMS, as_said), (Ok(()), Ok(())));
    let none = Terms { key: b"", ..TERMS };
    assert_eq!(meet(none, none, as_said), (Ok(()), Ok(())));
}

#[test]
fn another_key_or_type_is_reported_to_both() {
    for key in [&b""[..], b"Key", b"key "] {
        let refused = Err(Refusal::Unauthorised);
        assert_eq!(meet(TERMS, Terms { key, ..TERMS }, as_said), (refused, refused));
    }
    let refused = Err(Refusal::WrongType);
    assert_eq!(meet(TERMS, Terms { sends: 3, ..TERMS }, as_said), (refused, refused));
    assert_eq!(meet(TERMS, Terms { sends: 2, receives: 1, ..TERMS }, as_said), (refused, refused));
}

#[test]
fn a_listener_with_several_keys_accepts_each_and_proves_that_it_has_the_same() {
    let others = [&b"second"[..], b"third"];
    for (key, is_accepted) in
        [(TERMS.key, true), (b"second", true), (b"third", true), (b"fourth", false), (b"", false)]
    {
        let (connects, mut listening) = (Terms { key, ..TERMS }, Listening::new([2; NONCE]));
        let (mut connecting, mut said) = Connecting::new(connects, [1; NONCE]);
        let agreed = loop {
            let bytes = match listening.hear_any(TERMS, others.into_iter(), &said) {
                Next::Say(bytes) | Next::Agree(bytes) | Next::Refuse(bytes, _) => bytes,
                Next::Wait => panic!("it waits for more"),
            };
            match connecting.hear(connects, &bytes) {
                Next::Say(bytes) => said = bytes,
                next => break next,
            }
        };
        let expected = if is_accepted {
            Next::Agree(Vec::new())
        } else {
            Next::Refuse(Vec::new(), Refusal::Unauthorised)
        };
        assert_eq!(agreed, expected, "{key:?}");
    }
}

#[test]
fn another_protocol_is_not_a_peer() {
    let other = Terms { magic: *b"mp-test2", ..TERMS };
    let refused = Err(Refusal::Malformed);
    assert_eq!(meet(TERMS, other, as_said), (refused, refused));
    assert_eq!(meet(other, TERMS, as_said), (refused, refused));
    assert_eq!(meet(other, other, as_said), (Ok(()), Ok(())));
}

#[test]
fn the_terms_do_not_show_their_key() {
    let shown = format!("{:?} {:?}", Terms { key: b"hunter2", ..TERMS }, Listening::new([7; NONCE]));
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
}

#[test]
fn a_wrong_beginning_is_refused_at_its_first_wrong_byte() {
    for wrong in 0..TERMS.magic.len() {
        let mut said = TERMS.magic[..=wrong].to_vec();
        said[wrong] ^= 1;
        let mut listening = Listening::new([7; NONCE]);
        assert!(matches!(listening.hear(TERMS, &said), Next::Refuse(_, Refusal::Malformed)));
        let (mut connecting, _) = Connecting::new(TERMS, [9; NONCE]);
        assert_eq!(connecting.hear(TERMS, &said), Next::Refuse(Vec::new(), Refusal::Malformed));
        // The same bytes are refused one by one as well.
        let mut listening = Listening::new([7; NONCE]);
        let (last, first) = said.split_last().unwrap();
        assert!(first.iter().all(|byte| listening.hear(TERMS, &[*byte]) == Next::Wait));
        assert!(matches!(listening.hear(TERMS, &[*last]), Next::Refuse(_, Refusal::Malformed)));
    }
}

#[test]
fn no_changed_bit_gets_through() {
    for terms in [TERMS, versioned(3, 5)] {
        for (step, bit) in (0..4).flat_map(|step| (0..STEP_BYTES_MAX * 8).map(move |bit| (step, bit))) {
            let flip = |now: usize, said: &mut Vec<u8>| {
                if let Some(byte) = said.get_mut(bit / 8).filter(|_| now == step) {
                    *byte ^= 1 << (bit % 8);
                }
            };
            let (listening, connecting) = meet(terms, terms, flip);
            let reached = bit < [HELLO, CHALLENGE, PROOF, VERDICT][step] * 8;
            // Some bytes of each verdict are ignored. Those with the versions are not.
            let ignored_from_here = if terms.offer.is_some() { 12 * 8 } else { 16 * 8 };
            let ignored = (step == 1 && (9 * 8..ignored_from_here).contains(&bit))
                || (step == 3 && (8..64).contains(&bit));
            let agreed = listening.is_ok() && connecting.is_ok();
            assert_eq!(agreed, !reached || ignored, "step {step}, bit {bit}");
        }
    }
}

/// Returns the bytes of all steps in hexadecimal form.
fn steps_of(listens: Terms<'_>, connects: Terms<'_>) -> Vec<String> {
    let steps = std::cell::RefCell::new(Vec::new());
    let record = |_: usize, said: &mut Vec<u8>| {
        let words: Vec<_> = said
            .chunks(8)
            .map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            .collect();
        steps.borrow_mut().push(words.join(" "));
    };
    assert_eq!(meet(listens, connects, record), (Ok(()), Ok(())));
    steps.into_inner()
}

#[test]
fn the_bytes_of_a_handshake_are_those_of_earlier_builds() {
    let without = [
        "6d702d7465737431 0909090909090909 0909090909090909 0909090909090909 0909090909090909 0200000000000000 0100000000000000 0000000000000000",
        "6d702d7465737431 0000000000000000 0707070707070707 0707070707070707 0707070707070707 0707070707070707",
        "2bd2fe3e933c1f67 ed4c1a8cf49b717b c9ad600ed413f58a 0cfac41c0c928326",
        "0000000000000000 8e37b0907f095d1a 064b8e85f0c7da17 2ce05feb69400aa8 59fb4afaba8c694b",
    ];
    assert_eq!(steps_of(TERMS, TERMS), without);
    let versions = [
        "6d702d7465737431 0909090909090909 0909090909090909 090909096d702d72 616e676503000400 0200000000000000 0100000000000000 0000000000000000",
        "6d702d7465737431 0000000003000500 0707070707070707 0707070707070707 0707070707070707 0707070707070707",
        "2c7341953421c36f f69ca01b6aa1b35f 6a52cc80ea7e8008 f272133f0e5eb3fe",
        "0000000000000000 d00d1a2ffb96051e 39ca4a85f17206d9 0d16cc636b501125 d587ffd323b40a29",
    ];
    assert_eq!(steps_of(versioned(3, 5), versioned(3, 4)), versions);
}

#[test]
fn both_sides_use_the_newest_version_that_both_know() {
    let versions = |oldest, newest| Versions { oldest, newest };
    for (listens, connects, version) in [
        ((3, 4), (3, 4), Some(4)),
        ((3, 6), (4, 5), Some(5)),
        ((4, 5), (3, 6), Some(5)),
        ((3, 3), (3, 9), Some(3)),
        ((5, 9), (2, 5), Some(5)),
        ((5, 6), (3, 4), None),
        ((3, 4), (5, 6), None),
    ] {
        let (listens, connects) = (versions(listens.0, listens.1), versions(connects.0, connects.1));
        let terms = |versions: Versions| versioned(versions.oldest, versions.newest);
        let (listening, connecting) = negotiate(terms(listens), terms(connects), as_said);
        match version {
            Some(version) => {
                assert_eq!(listening, Ok(Some(Agreed { version, theirs: connects })));
                assert_eq!(connecting, Ok(Some(Agreed { version, theirs: listens })));
            }
            None => {
                assert_eq!(listening, Err(Refusal::NoCommonVersion { theirs: connects }));
                assert_eq!(connecting, Err(Refusal::NoCommonVersion { theirs: listens }));
            }
        }
    }
}

#[test]
fn a_peer_without_versions_has_the_silent_one() {
    let agreed = Agreed { version: 3, theirs: Versions::only(3) };
    assert_eq!(negotiate(versioned(3, 5), TERMS, as_said), (Ok(Some(agreed)), Ok(None)));
    assert_eq!(negotiate(TERMS, versioned(3, 5), as_said), (Ok(None), Ok(Some(agreed))));
    let refused = Err(Refusal::NoCommonVersion { theirs: Versions::only(3) });
    assert_eq!(negotiate(versioned(4, 5), TERMS, as_said), (refused, Err(Refusal::Malformed)));
    assert_eq!(negotiate(TERMS, versioned(4, 5), as_said).1, refused);
}

#[test]
fn nobody_on_the_way_can_make_two_sides_use_an_older_version() {
    let range = |said: &mut Vec<u8>, end: usize, with: [u8; RANGE]| {
        said.splice(end - RANGE..end, with);
    };
    let older = Versions { oldest: 3, newest: 4 }.to_bytes();
    for with in [older, Versions::only(3).to_bytes(), [0; RANGE]] {
        // The end of the nonce in the hello, and that of the verdict in the challenge.
        for (step, end) in [(0, 40), (1, 16)] {
            let tamper = |now: usize, said: &mut Vec<u8>| {
                if now == step {
                    range(said, end, with);
                }
            };
            let outcomes = meet(versioned(3, 5), versioned(3, 5), tamper);
            assert!(outcomes.0.is_err() || outcomes.1.is_err(), "step {step}: {with:?}");
        }
        let both = |now: usize, said: &mut Vec<u8>| match now {
            0 => range(said, 40, with),
            1 => range(said, 16, with),
            _ => {}
        };
        let outcomes = meet(versioned(3, 5), versioned(3, 5), both);
        assert_eq!(outcomes, (Err(Refusal::Unauthorised), Err(Refusal::Unauthorised)), "{with:?}");
    }
}

#[test]
fn bytes_may_arrive_one_by_one_but_no_more_than_the_step() {
    let mut listening = Listening::new([7; NONCE]);
    let (_, hello) = Connecting::new(TERMS, [9; NONCE]);
    let (last, first) = hello.split_last().unwrap();
    for byte in first {
        assert_eq!(listening.hear(TERMS, &[*byte]), Next::Wait);
    }
    assert!(matches!(listening.hear(TERMS, &[*last]), Next::Say(_)));
    assert!(matches!(listening.hear(TERMS, &[0; PROOF + 1]), Next::Refuse(_, Refusal::Malformed)));
    let mut listening = Listening::new([7; NONCE]);
    let both = [hello, vec![0; PROOF]].concat();
    assert!(matches!(listening.hear(TERMS, &both), Next::Refuse(_, Refusal::Malformed)));
}

#[test]
fn the_proof_of_one_side_does_not_serve_the_other() {
    let reflected = |step: usize, said: &mut Vec<u8>| {
        if step == 3 {
            let both = Said { connecting: [9; NONCE], listening: [7; NONCE], listening_knows: None };
            let own = TERMS.mac(b"connecting", both).unwrap();
            *said = [&[0; 8][..], &own.finalize().into_bytes()].concat();
        }
    };
    assert_eq!(meet(TERMS, TERMS, reflected).1, Err(Refusal::Unauthorised));
}
