//! Steps of a connection that are cut.

use std::time::Duration;

use manager_rt::Manager;

use crate::There;
use crate::cutter::{Cutter, Lost};
use crate::server::Server;

/// Nothing has so many steps.
const STEPS_MAX: u32 = 80;

#[test]
fn every_step_of_connecting_may_be_cut() {
    let server = Server::start(&["--requirepass", "opensesame"]);
    let (there, cutter) = (There::new(&server), Cutter::start(&server));
    let connect =
        || Manager::builder().key("opensesame").timeout(Duration::from_secs(5)).connect(&cutter.url(&there));
    for lost in [Lost::All, Lost::Half] {
        let steps = (1..STEPS_MAX).take_while(|step| {
            cutter.cut_at(*step, lost);
            let connected = connect();
            let was_cut = cutter.stop();
            assert!(connected.is_err() || connected.unwrap().info().is_ok());
            was_cut
        });
        assert!(steps.count() >= 4);
        assert!(connect().is_ok());
    }
}
