//! Clients for which a server has no room.

use super::*;

#[test]
fn clients_connect_up_to_the_limit_and_not_one_more() {
    let server = Running::start(Server::builder().clients_max(2));
    let (mut one, other) = (server.client(), server.client());
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.client()));
    assert!(refused.is_err(), "a fault replaces the welcome");
    one.ping();
    drop(other);
    // The server notices the end at its next look.
    mp_sys::testing::eventually("there is room again", || {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.client())).is_ok()
    });
}

#[test]
fn a_client_for_which_there_is_no_room_is_told_so_and_disconnected() {
    let server = Running::start(Server::builder().clients_max(1));
    let mut one = server.client();
    for _ in 0..3 {
        let mut refused = Client::unwelcomed(&server.path, frame::terms(b"")).unwrap();
        assert_eq!(refused.frame().0.kind, FrameKind::Fault);
        refused.expect_end();
    }
    one.ping();
}
