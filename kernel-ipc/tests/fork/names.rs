//! Listeners and connecting processes, some of which are killed.

use std::time::Duration;

use kernel_ipc::{Address, ConnectError, Listener, RecvError, connect_timeout, pipe};
use mp_sys::testing::{PATIENCE, eventually, hang, kill, spawn, succeeded, tests};

tests! {
    processes_meet_by_name,
    a_killed_listener_leaves_no_name,
    a_peer_that_is_killed_in_its_handshake_delays_no_other,
    a_connection_outlives_the_listener,
    a_child_may_accept_too,
    another_user_is_refused_on_both_sides,
}

fn address() -> Address {
    Address::new(format!("fork-{}", mp_sys::deadline::now_nanos())).key("key")
}

fn processes_meet_by_name() {
    let address = address();
    let listener = Listener::<u32, u32>::bind(address.clone()).unwrap();
    let children: Vec<_> = (0..8)
        .map(|n| {
            let address = address.clone();
            spawn(move || {
                let connection = connect_timeout::<u32, u32>(address, PATIENCE).unwrap();
                connection.send(&n).unwrap();
                assert_eq!(connection.recv_timeout(PATIENCE), Ok(n + 1));
            })
        })
        .collect();
    for _ in 0..8 {
        let connection = listener.accept_timeout(PATIENCE).unwrap();
        connection.send(&(connection.recv_timeout(PATIENCE).unwrap() + 1)).unwrap();
    }
    children.iter().for_each(succeeded);
}

fn a_killed_listener_leaves_no_name() {
    let address = address();
    let (ready, is_ready) = pipe::<()>().unwrap();
    let child = spawn(|| {
        let _listener = Listener::<u8, u8>::bind(address.clone()).unwrap();
        ready.send(&()).unwrap();
        hang();
    });
    is_ready.recv_timeout(PATIENCE).unwrap();
    kill(&child);
    eventually("the name is free", || {
        connect_timeout::<u8, u8>(address.clone(), PATIENCE).map(drop) == Err(ConnectError::NotFound)
    });
    drop(Listener::<u8, u8>::bind(address).unwrap());
}

fn a_peer_that_is_killed_in_its_handshake_delays_no_other() {
    let address = address();
    let listener = Listener::<u8, u8>::bind(address.clone()).unwrap();
    for _ in 0..10 {
        let half = address.clone();
        let child = spawn(move || drop(connect_timeout::<u8, u8>(half, Duration::MAX)));
        // The child has connected, and waits for the challenge.
        assert!(!kernel_ipc::wait(&[&listener], PATIENCE).unwrap().is_empty());
        kill(&child);
        assert!(listener.try_accept().is_err());
    }
    let child = spawn(|| drop(connect_timeout::<u8, u8>(address, PATIENCE).unwrap()));
    let connection = listener.accept_timeout(PATIENCE).unwrap();
    assert_eq!(connection.recv_timeout(PATIENCE), Err(RecvError::Closed));
    succeeded(&child);
}

fn a_connection_outlives_the_listener() {
    let address = address();
    let listener = Listener::<u8, u8>::bind(address.clone()).unwrap();
    let child = spawn(|| {
        let connection = connect_timeout::<u8, u8>(address, PATIENCE).unwrap();
        assert_eq!(connection.recv_timeout(PATIENCE), Ok(3));
    });
    let connection = listener.accept_timeout(PATIENCE).unwrap();
    drop(listener);
    connection.send(&3).unwrap();
    succeeded(&child);
}

fn a_child_may_accept_too() {
    let address = address();
    let listener = Listener::<u8, u8>::bind(address.clone()).unwrap();
    let accepting = spawn(|| {
        let connection = listener.accept_timeout(PATIENCE).unwrap();
        connection.send(&9).unwrap();
    });
    let connecting = spawn(|| {
        let connection = connect_timeout::<u8, u8>(address, PATIENCE).unwrap();
        assert_eq!(connection.recv_timeout(PATIENCE), Ok(9));
    });
    succeeded(&connecting);
    succeeded(&accepting);
}

fn another_user_is_refused_on_both_sides() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let address = address();
    let listener = Listener::<u8, u8>::bind(address.clone()).unwrap();
    let other = || {
        let nobody = rustix::thread::Uid::from_raw(65_534);
        rustix::thread::set_thread_uid(nobody).unwrap();
    };
    let careful = spawn(|| {
        other();
        let refused = connect_timeout::<u8, u8>(address.clone(), PATIENCE).map(drop);
        assert_eq!(refused, Err(ConnectError::OtherUser));
    });
    succeeded(&careful);
    // This one does not check which user the listener belongs to.
    let (ready, is_ready) = pipe::<()>().unwrap();
    let name = format!("{address:?}").split('"').nth(1).unwrap().to_owned();
    let careless = spawn(|| {
        use std::io::Read;
        use std::os::linux::net::SocketAddrExt;
        other();
        let address = std::os::unix::net::SocketAddr::from_abstract_name(format!("mp.{name}")).unwrap();
        let mut stream = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
        ready.send(&()).unwrap();
        assert_eq!(stream.read(&mut [0; 64]).unwrap(), 0, "there was an answer");
    });
    is_ready.recv_timeout(PATIENCE).unwrap();
    assert!(listener.try_accept().is_err());
    succeeded(&careless);
}
