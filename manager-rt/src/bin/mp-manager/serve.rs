//! `serve`: runs a server until somebody ends it.
//!
//! Handlers for SIGTERM and SIGINT are there before the server listens, so its socket is removed whenever it is ended by one of
//! them. A handler only writes a byte into a pipe; a thread reads it and stops the server.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path;
use std::thread::Builder;

use manager_rt::{BindError, Manager, Server, Stopper};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::args::Serve;
use crate::failure::Failure;
use crate::http::{Connect, Http};
use crate::{keys, output};

/// The variable in which a supervisor names the socket that it listens to: sd_notify(3).
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Runs a server.
///
/// # Errors
/// [`Failure`].
pub(crate) fn run(options: &Serve) -> Result<(), Failure> {
    let signals = signals().map_err(|error| Failure::Failed(format!("no handlers for signals: {error}")))?;
    let http = options.http.map(|at| Http::bind(at, options.http_public, &options.http_name)).transpose()?;
    let server = bind(options)?;
    let stopper = server.stopper();
    let started = Builder::new().name("signals".to_owned()).spawn(move || stop_at_signal(signals, &stopper));
    // The thread ends with the process.
    drop(started.map_err(|error| Failure::Failed(format!("no thread for signals: {error}")))?);
    let mut addresses: Vec<String> =
        std::iter::once(server.address()).chain(server.tcp_addresses()).map(ToString::to_string).collect();
    if let Some(http) = http {
        addresses.push(http.url());
        http.start(as_client(options, server.address().to_string())?)?;
    }
    // A server is useful even if nobody reads where it listens.
    drop(output::line(&format!("listening at {}", addresses.join(" "))));
    notify("READY=1");
    let served = server.serve();
    notify("STOPPING=1");
    served.map_err(|error| Failure::Failed(format!("the server ended: {error}")))
}

/// Returns what connects the page to the server.
fn as_client(options: &Serve, address: String) -> Result<Connect, Failure> {
    let key = options.key_file.as_ref().map(|file| keys::read(file)).transpose()?;
    Ok(Box::new(move || {
        let builder = Manager::builder();
        let builder = key.iter().fold(builder, |builder, key| builder.key(key.clone()));
        builder.connect(&address).map_err(|error| error.to_string())
    }))
}

fn bind(options: &Serve) -> Result<Server, Failure> {
    let socket = path::absolute(&options.socket)
        .map_err(|error| Failure::Usage(format!("--socket {:?}: {error}", options.socket)))?;
    let mut builder = Server::builder();
    if let Some(file) = &options.key_file {
        builder = builder.key(keys::read(file)?);
    }
    for file in &options.accept_key_file {
        builder = builder.also_accept(keys::read(file)?);
    }
    for address in &options.tcp {
        builder = builder.tcp(address).map_err(|error| Failure::Usage(format!("--tcp: {error}")))?;
    }
    if let Some(bytes) = options.memory {
        builder = builder.memory_bytes_max(bytes);
    }
    if let Some(clients) = options.clients {
        builder = builder.clients_max(usize::try_from(clients).unwrap_or(usize::MAX));
    }
    if let Some(time) = options.idle_end {
        builder = builder.idle_end(time);
    }
    builder.bind(&socket).map_err(|error| {
        let at = socket.display();
        match error {
            BindError::Address(error) => Failure::Usage(format!("--socket: {error}")),
            // The message contains the address.
            BindError::Tcp { .. } => Failure::Unreachable(error.to_string()),
            BindError::KeyTooShort { .. } => {
                Failure::Usage(format!("{error}: make another one with `mp-manager keygen`"))
            }
            BindError::TooManyKeys { .. } => Failure::Usage(error.to_string()),
            BindError::Exists => Failure::Unreachable(format!(
                "cannot listen at {at}: {error}; use it, end it with `mp-manager shutdown`, or give another --socket"
            )),
            BindError::NotASocket => {
                Failure::Unreachable(format!("cannot listen at {at}: {error}, and it stays as it is"))
            }
            error => Failure::Unreachable(format!("cannot listen at {at}: {error}")),
        }
    })
}

/// Installs the handlers. The stream has a byte when a signal has come.
fn signals() -> io::Result<UnixStream> {
    let (signals, writer) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(signals)
}

fn stop_at_signal(mut signals: UnixStream, stopper: &Stopper) {
    if signals.read_exact(&mut [0]).is_ok() {
        stopper.stop();
    }
}

/// Tells a supervisor such as systemd about this process, if there is one.
fn notify(state: &str) {
    let Some(path) = env::var_os(NOTIFY_SOCKET) else { return };
    if let Err(error) = send(&path, state) {
        output::note(&format!("{NOTIFY_SOCKET}={}: {error}", path.display()));
    }
}

fn send(path: &OsStr, state: &str) -> io::Result<()> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}
