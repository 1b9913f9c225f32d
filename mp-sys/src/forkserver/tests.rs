//! Tests of what askers receive, and how long they wait.

use super::*;

#[test]
fn reports_come_back_and_others_are_refused() {
    let all = [
        Report::Hello(1),
        Report::Hello(u32::MAX),
        Report::Failed(11),
        Report::Threads(1),
        Report::Ended(Ended::Exited(0)),
        Report::Ended(Ended::Exited(-1)),
        Report::Ended(Ended::Signaled(9)),
        Report::Ended(Ended::Unknown),
        Report::Dumped(6),
    ];
    for report in all {
        assert_eq!(Report::of(report.to_head()), Some(report));
        let head = report.to_head();
        assert_eq!(Report::of(Head { long: head.long | 1 << 32, ..head }), None);
    }
    assert_eq!(Report::of(Head { word: 0, long: 0 }), None);
}

/// The number of slices until patience ends, with a server that passes through these states and stays in the last.
fn slices(states: &[(State, u128)], last: State) -> u128 {
    let mut left = Left(Left::ALL);
    let before = states.iter().flat_map(|(state, count)| (0..*count).map(|_| *state));
    let all = before.chain(std::iter::repeat(last));
    1 + all.map(|state| left.after_a_slice(state)).take_while(|goes_on| *goes_on).map(|_| 1).sum::<u128>()
}

#[test]
fn an_asker_waits_a_second_for_a_stopped_server_and_thirty_for_a_running_one() {
    let one_second = 1_000 / SLICE.as_millis();
    assert_eq!(slices(&[], State::Runs), 30 * one_second);
    assert_eq!(slices(&[], State::Stopped), one_second);
    assert_eq!(slices(&[], State::Ended), one_second);
    // A server that was stopped and continued costs little.
    assert_eq!(slices(&[(State::Stopped, 1)], State::Runs), 30 * one_second - 30 + 1);
}
