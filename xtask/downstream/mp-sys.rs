//! A program that depends on `mp-sys`: another process runs, and two unrelated ends prove their key to each other.

use mp_sys::child::{Ended, fork};
use mp_sys::deadline::Deadline;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(fork(|| 7)?.wait(Deadline::NEVER)?, Some(Ended::Exited(7)));
    #[cfg(feature = "handshake")]
    {
        use mp_sys::handshake::{Connecting, Listening, Next, Terms};
        let terms = Terms { magic: *b"example1", key: b"secret", sends: 1, receives: 1, offer: None };
        let (mut listening, (mut connecting, hello)) = (Listening::new([1; 32]), Connecting::new(terms, [2; 32]));
        let Next::Say(challenge) = listening.hear(terms, &hello) else { panic!("no challenge") };
        let Next::Say(proof) = connecting.hear(terms, &challenge) else { panic!("no proof") };
        assert!(matches!(listening.hear(terms, &proof), Next::Agree(_)));
    }
    Ok(())
}
