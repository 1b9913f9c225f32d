//! Events: processes are killed while they wait, and right after they were woken. No process holds an event, and `set`
//! and `clear` are one store each.

use mp::{Event, RawValue};
use mp_sys::testing::{Random, eventually, kill};

use crate::cell::{HANG, Outcome, define_cells, spawn};

/// A waiter dies: `set` does not wait for it, and the others go on.
fn waiter(kills: u32) -> Outcome {
    event(kills, |random, event, victim| {
        random.pause(100_000);
        kill(victim);
        event.set();
    })
}

/// A waiter dies as it wakes up.
fn just_woken(kills: u32) -> Outcome {
    event(kills, |random, event, victim| {
        random.pause(100_000);
        event.set();
        random.pause(20_000);
        kill(victim);
    })
}

fn event(kills: u32, act: impl Fn(&mut Random, &Event, &mp_sys::child::ChildProcess)) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let event = Event::new().unwrap();
    for _ in 0..kills {
        event.clear();
        let waiting = RawValue::new(0_u32).unwrap();
        let wait = || {
            waiting.fetch_add(1);
            assert!(event.wait_timeout(HANG), "the event came");
        };
        let (victim, survivor) = (spawn(wait), spawn(wait));
        eventually("both are about to wait", || waiting.load() == 2);
        act(&mut random, &event, &victim);
        out.kills += 1;
        out.expect_end(&survivor);
    }
    out
}

define_cells! {
    WAITER: "event", "waiter", waiter;
    JUST_WOKEN: "event", "just_woken", just_woken;
}
