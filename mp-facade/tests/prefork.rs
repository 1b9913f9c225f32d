//! The example `prefork` loses nothing: real load, kills, reloads and bad clients against its program, and its unit tests.
//!
//! Its modules are compiled in here because `cargo test` either runs an example's own tests or builds the program that the
//! tests below need, but not both. The server runs in processes of its own, so nothing here forks.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "tally/command.rs"]
#[expect(dead_code, reason = "most of it is for the example `tally`")]
mod command;
#[path = "tally/plain.rs"]
#[expect(dead_code, reason = "it is for the example `tally`")]
mod plain;

#[path = "prefork/bad_clients.rs"]
mod bad_clients;
#[path = "prefork/client.rs"]
mod client;
#[path = "prefork/ending.rs"]
mod ending;
#[path = "prefork/full_disks.rs"]
mod full_disks;
#[path = "prefork/guide.rs"]
mod guide;
#[path = "prefork/limiting.rs"]
mod limiting;
#[path = "prefork/load.rs"]
mod load;
#[path = "prefork/losing_nothing.rs"]
mod losing_nothing;
#[path = "prefork/page.rs"]
mod page;
#[path = "prefork/server.rs"]
mod server;

#[path = "../examples/prefork/args.rs"]
mod args;
#[path = "../examples/prefork/background.rs"]
mod background;
#[path = "../examples/prefork/connection.rs"]
mod connection;
#[path = "../examples/prefork/limiter.rs"]
mod limiter;
#[path = "../examples/prefork/limits.rs"]
mod limits;
#[path = "../examples/prefork/parent.rs"]
#[expect(dead_code, reason = "it is the example's main that runs a server")]
mod parent;
#[path = "../examples/prefork/port.rs"]
mod port;
#[path = "../examples/prefork/records.rs"]
mod records;
#[path = "../examples/prefork/routes.rs"]
mod routes;
#[path = "../examples/prefork/sessions.rs"]
mod sessions;
#[path = "../examples/prefork/settings.rs"]
mod settings;
#[path = "../examples/prefork/shared.rs"]
mod shared;
#[path = "../examples/prefork/signals.rs"]
mod signals;
#[path = "../examples/prefork/status.rs"]
mod status;
#[path = "../examples/prefork/stderr.rs"]
mod stderr;
#[path = "../examples/prefork/table.rs"]
mod table;
#[path = "../examples/prefork/worker.rs"]
mod worker;
