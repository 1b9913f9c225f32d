//! `serve`: runs a server until somebody ends it.
//!
//! The process has one thread. So it can write snapshots from a copy of itself, while it goes on serving: see
//! `ServerBuilder::end_on_signals`, by which SIGTERM and SIGINT end it in order. The page of `--http` is a process of its own.

use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use manager_rt::{
    BindError, Key, Manager, ManagerBuilder, RestoreError, Server, ServerBuilder, SnapshotFault,
};
use mp_sys::signals::hold_hangups;
use rustix::io::Errno;

use crate::args::Serve;
use crate::failure::Failure;
use crate::http::{Connect, Http};
use crate::{keys, log, output};

/// The variable in which a supervisor names the socket that it listens to: sd_notify(3).
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Runs a server.
///
/// # Errors
/// [`Failure`].
pub(crate) fn run(options: &Serve) -> Result<(), Failure> {
    log::begin();
    if options.key_file.is_some() {
        // Before the keys are read, so that no request to read them again is missed, or ends this process.
        hold_hangups().map_err(|error| no_signals(&error))?;
    }
    // Before anything else is opened, which might have the number of a descriptor that was announced and not passed.
    let builder = Server::builder().activated().map_err(|error| Failure::Unreachable(error.to_string()))?;
    let http = options.http.map(|at| Http::bind(at, options.http_public, &options.http_name)).transpose()?;
    let url = http.as_ref().map(Http::url);
    // Before signals are blocked, and anything is open that the process of the page should not have.
    let page = http.map(|http| http.start(as_client(options)?)).transpose()?;
    let server = bind(builder, options)?;
    let addresses = std::iter::once(server.address()).chain(server.tcp_addresses()).map(ToString::to_string);
    let addresses: Vec<String> = addresses.chain(url).collect();
    if let Some(mut page) = page {
        page.begin(&server.address().to_string())?;
    }
    // A server is useful even if nobody reads where it listens.
    drop(output::line(&format!("listening at {}", addresses.join(" "))));
    notify("READY=1");
    let served = server.serve_with(|| notify("STOPPING=1"));
    served.map_err(|error| match &options.keep {
        Some(file) => Failure::Failed(format!("the objects were not saved in {}: {error}", file.display())),
        None => Failure::Failed(format!("the server ended: {error}")),
    })
}

/// Returns what connects the page to the server at an address.
fn as_client(options: &Serve) -> Result<impl FnOnce(String) -> Connect, Failure> {
    let file = options.key_file.as_ref().map(|file| absolute("--key-file", file)).transpose()?;
    Ok(move |address: String| -> Connect {
        Arc::new(move || {
            // It may be another one than at the start.
            let key = file.as_ref().map(|file| keys::read(file)).transpose();
            let key = key.map_err(|failure| failure.message().unwrap_or_default().to_owned())?;
            let builder = Manager::builder();
            let builder = key.into_iter().fold(builder, ManagerBuilder::key);
            builder.connect(&address).map_err(|error| error.to_string())
        })
    })
}

fn bind(builder: ServerBuilder, options: &Serve) -> Result<Server, Failure> {
    let builder = builder.end_on_signals().map_err(|error| no_signals(&error))?;
    let builder = with_files(with_limits(with_addresses(builder, options)?, options), options)?;
    match &options.socket {
        Some(socket) => {
            let socket = path::absolute(socket)
                .map_err(|error| Failure::Usage(format!("--socket {socket:?}: {error}")))?;
            builder.bind(&socket).map_err(|error| not_bound(&socket.display().to_string(), error))
        }
        None if builder.has_sockets() => {
            builder.serve_given().map_err(|error| not_bound("the socket that was passed", error))
        }
        None => Err(Failure::Usage(
            "give --socket PATH, since no service manager has passed a socket (LISTEN_FDS)".to_owned(),
        )),
    }
}

/// Sets the keys, and where other hosts reach the server.
fn with_addresses(mut builder: ServerBuilder, options: &Serve) -> Result<ServerBuilder, Failure> {
    if let Some(file) = &options.key_file {
        let files = std::iter::once(file).chain(&options.accept_key_file);
        let files: Vec<PathBuf> = files.map(|file| absolute("--key-file", file)).collect::<Result<_, _>>()?;
        let again = files.clone();
        let hearing = builder.keys_on_hangup(move || match read_all(&again) {
            Ok(keys) => Some(keys),
            Err(failure) => {
                let why = failure.message().unwrap_or_default();
                output::note(&format!("the keys stay as they are: {why}"));
                None
            }
        });
        let mut all = read_all(&files)?.into_iter();
        builder =
            all.next().into_iter().fold(hearing.map_err(|error| no_signals(&error))?, ServerBuilder::key);
        builder = all.fold(builder, ServerBuilder::also_accept);
    }
    for address in &options.tcp {
        builder = builder.tcp(address).map_err(|error| Failure::Usage(format!("--tcp: {error}")))?;
    }
    Ok(builder)
}

fn no_signals(error: &dyn Display) -> Failure {
    Failure::Failed(format!("no way to hear of signals: {error}"))
}

/// Reads the keys in all files, in their order.
fn read_all(files: &[PathBuf]) -> Result<Vec<Key>, Failure> {
    files.iter().map(|file| keys::read(file)).collect()
}

fn with_limits(mut builder: ServerBuilder, options: &Serve) -> ServerBuilder {
    if let Some(bytes) = options.memory {
        builder = builder.memory_bytes_max(bytes);
    }
    if let Some(clients) = options.clients {
        builder = builder.clients_max(usize::try_from(clients).unwrap_or(usize::MAX));
    }
    if let Some(time) = options.idle_end {
        builder = builder.idle_end(time);
    }
    builder
}

/// Sets the files from which the objects come, and to which they go.
fn with_files(mut builder: ServerBuilder, options: &Serve) -> Result<ServerBuilder, Failure> {
    if let Some(file) = &options.restore {
        builder = builder.restore(absolute("--restore", file)?);
    }
    if let Some(file) = &options.keep {
        builder = builder.keep(absolute("--keep", file)?);
    }
    if let Some(interval) = options.keep_every {
        builder = builder.keep_every(interval);
    }
    Ok(builder)
}

fn absolute(option: &str, file: &Path) -> Result<PathBuf, Failure> {
    path::absolute(file).map_err(|error| Failure::Usage(format!("{option} {}: {error}", file.display())))
}

fn not_bound(at: &str, error: BindError) -> Failure {
    match error {
        BindError::Address(error) => Failure::Usage(format!("--socket: {error}")),
        // The message contains the address, or the file.
        BindError::Tcp { .. } => Failure::Unreachable(error.to_string()),
        BindError::Restore(RestoreError { fault: SnapshotFault::System(error), .. })
            if error.raw_os_error() == Errno::CANCELED.raw_os_error() =>
        {
            Failure::Ended
        }
        BindError::Restore(error) => Failure::Failed(error.to_string()),
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
