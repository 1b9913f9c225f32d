//! The texts of errors.

use kernel_ipc::limits::MESSAGE_BYTES_MAX;
use kernel_ipc::{RecvError, SendError};

#[test]
fn a_refused_message_names_the_limit() {
    let text = SendError::TooLarge { found: MESSAGE_BYTES_MAX + 1 }.to_string();
    assert!(text.contains("268435457") && text.contains("268435456"), "{text}");
}

#[test]
fn bytes_in_an_error_do_not_flood_a_log() {
    let bytes = vec![7; 100_000];
    let error = RecvError::Decode { reason: "no bool".to_owned(), bytes };
    let text = format!("{error:?}");
    assert!(text.contains("100000 bytes") && text.len() < 100, "{text}");
}
