//! What askers are told.

use super::*;

#[test]
fn reports_come_back_and_others_are_refused() {
    let all = [
        Report::Hello(1),
        Report::Hello(u32::MAX),
        Report::Failed(11),
        Report::Ended(Ended::Exited(0)),
        Report::Ended(Ended::Exited(-1)),
        Report::Ended(Ended::Signaled(9)),
        Report::Ended(Ended::Unknown),
    ];
    for report in all {
        assert_eq!(Report::of(report.to_head()), Some(report));
        let head = report.to_head();
        assert_eq!(Report::of(Head { long: head.long | 1 << 32, ..head }), None);
    }
    assert_eq!(Report::of(Head { word: 0, long: 0 }), None);
}
