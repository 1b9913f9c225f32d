//! Servers that are not reached, and passwords.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use manager_rt::{ConnectError, Manager, ReachError};

use crate::server::{namespace, shared};

fn not_reached(url: &str) -> (ConnectError, String) {
    let reached = Manager::builder().timeout(Duration::from_secs(20)).connect(url);
    let Err(error) = reached else { panic!("{url} was reached") };
    let text = format!("{error} {error:?}");
    let ReachError::Connect { error, .. } = error else { panic!("{error}") };
    (error, text)
}

#[test]
fn a_server_that_is_not_reached_says_why_and_shows_no_password() {
    let port = shared().port();
    for (user, at, expected) in [
        ("guest:s3cret", format!("127.0.0.1:{port}"), ConnectError::Unauthorised),
        ("nobody:s3cret", format!("127.0.0.1:{port}"), ConnectError::Unauthorised),
        ("guest:guest", format!("127.0.0.1:{port}/none"), ConnectError::NoVirtualHost),
        ("guest:s3cret", "127.0.0.1:1".to_owned(), ConnectError::NotFound),
    ] {
        let (error, text) = not_reached(&format!("amqp://{user}@{at}"));
        assert_eq!(error, expected, "{at}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn what_is_not_rabbitmq_is_an_error() {
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("amqp://{}", listener.local_addr().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut client, _) = listener.accept().unwrap();
                assert!(client.read(&mut [0; 8]).unwrap() > 0);
                client.write_all(answer).unwrap();
            });
            assert_eq!(not_reached(&url).0, ConnectError::Protocol);
        });
    }
}

#[test]
fn a_key_is_the_password_and_nothing_shows_it() {
    let (port, space) = (shared().port(), namespace());
    let url = format!("amqp://guest@127.0.0.1:{port}?ns={space}");
    let manager = Manager::builder().key("guest").connect(&url).unwrap();
    assert_eq!(manager.address(), Some(url));
    let queue = manager.named("q").queue::<u8>().unwrap();
    for shown in [format!("{manager:?}"), format!("{:?}", manager.backend()), format!("{queue:?}")] {
        assert!(!shown.contains("guest:") && !shown.contains("Key"), "{shown}");
    }
    assert_eq!(not_reached(&format!("amqp://guest@127.0.0.1:{port}")).0, ConnectError::Unauthorised);
}
