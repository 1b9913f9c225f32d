//! What the status page is made of.

use crate::client::Client;
use crate::server::{NO_LIMIT, Server};

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let server = Server::start(1, 1, NO_LIMIT);
    let mut client = Client::connect(server.address).unwrap();
    for (path, kind) in [
        ("/status", "text/html; charset=utf-8"),
        ("/status.css", "text/css; charset=utf-8"),
        ("/status.js", "text/javascript; charset=utf-8"),
        ("/status.json", "application/json"),
    ] {
        let reply = client.get(path).unwrap();
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)));
        assert!(reply.header("content-security-policy").unwrap().starts_with("default-src 'self'; "));
        let without_names = reply.body.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !without_names.contains("//") || !without_names.contains("http"),
            "{path} names another server"
        );
    }
}
