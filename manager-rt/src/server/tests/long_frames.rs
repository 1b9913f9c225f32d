//! Long frames, and what follows them.

use super::*;

fn long_set(client: &mut Client, value: ObjectId, byte: u8) -> Vec<u8> {
    client.bytes_of(value, Wait::No, Op::Value(ValueOp::Store(Raw::plain(&vec![byte; 100 << 10]))))
}

#[test]
fn what_follows_a_long_frame_is_run_after_it() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    let value = client.open("v", Spec::Value(Raw::plain(b"")));
    let mut bytes = Vec::new();
    for number in 0..5 {
        bytes.extend(long_set(&mut client, value, number));
        bytes.extend(client.bytes_of(value, Wait::No, GET));
    }
    // The last frame arrives in two parts, the first of them with the end of a long frame.
    let (first, last) = bytes.split_at(bytes.len() - 10);
    client.stream.write_all(first).unwrap();
    for number in 0..5 {
        assert_eq!(client.answer().1, Ok(Reply::Done));
        if number == 4 {
            client.stream.write_all(last).unwrap();
        }
        let expected = Payload::copy(Raw::plain(&vec![number; 100 << 10]));
        assert_eq!(client.answer().1, Ok(Reply::Value(expected)));
    }
}

#[test]
fn a_long_frame_before_the_end_of_its_connection_is_run() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    let value = client.open("v", Spec::Value(Raw::plain(b"")));
    for byte in 1..20 {
        let mut other = server.client();
        let value_of_other = other.open("v", Spec::Value(Raw::plain(b"")));
        let bytes = long_set(&mut other, value_of_other, byte);
        other.stream.write_all(&bytes).unwrap();
        other.stream.shutdown(std::net::Shutdown::Write).unwrap();
        // Its end follows the frame.
        other.expect_end();
        let expected = Payload::copy(Raw::plain(&vec![byte; 100 << 10]));
        assert_eq!(client.ask(value, GET), Ok(Reply::Value(expected)));
    }
}
