//! A relay between clients and a server: it counts bytes, and ends connections as the death of a process would.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use manager_rt::{Address, Manager};
use mp_sys::deadline::Deadline;
use mp_sys::stream::Stream;
use mp_sys::testing::PATIENCE;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::RecvFlags;

/// A socket whose connections lead to a server.
#[derive(Debug)]
pub(crate) struct Relay {
    front: PathBuf,
    key: Vec<u8>,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Shared {
    server: PathBuf,
    connections: Mutex<Vec<Link>>,
    is_cut: AtomicBool,
    bytes_to_clients: AtomicUsize,
}

/// Both sides of a connection.
#[derive(Debug)]
struct Link {
    client: UnixStream,
    server: UnixStream,
    /// Until this is closed, what the server sends is passed on.
    passes: UnixStream,
    to_client: JoinHandle<()>,
    to_server: JoinHandle<()>,
}

impl Relay {
    /// Makes a relay to a server that [`Manager::start`] started, whose key lies beside its socket.
    pub(crate) fn to(manager: &Manager) -> Self {
        let address: Address = manager.address().unwrap().parse().unwrap();
        let path = address.path().unwrap();
        let key = std::fs::read(path.with_file_name("key")).unwrap();
        Self::at(path, key)
    }

    /// Makes a relay to the server at a path.
    pub(crate) fn at(path: &Path, key: Vec<u8>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let front = folder.path().join("relay");
        let listener = UnixListener::bind(&front).unwrap();
        let shared = Arc::new(Shared {
            server: path.to_owned(),
            connections: Mutex::default(),
            is_cut: AtomicBool::new(false),
            bytes_to_clients: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        let accepting = start(move || accepting.accept_all(&listener));
        Self { front, key, shared, accepting: Some(accepting), _folder: folder }
    }

    /// Connects a client through the relay.
    pub(crate) fn client(&self) -> Manager {
        Manager::builder()
            .key(self.key.as_slice())
            .connect(&format!("mp+unix:{}", self.front.display()))
            .unwrap()
    }

    /// Returns how many bytes the server has sent to clients.
    pub(crate) fn bytes_to_clients(&self) -> usize {
        self.shared.bytes_to_clients.load(Ordering::Relaxed)
    }

    /// Ends all connections. Clients may connect again.
    pub(crate) fn sever(&self) {
        for Link { client, server, passes, to_client, to_server } in self.connections() {
            drop((client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both), passes));
            [to_client, to_server].into_iter().for_each(|thread| thread.join().unwrap());
        }
    }

    /// Ends all connections as the death of the clients' processes would, and accepts no more: what clients have sent arrives,
    /// and what they have not read stays unread.
    pub(crate) fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        for Link { client, server, passes, to_client, to_server } in self.connections() {
            drop(passes);
            to_client.join().unwrap();
            drop(client.shutdown(Shutdown::Read));
            to_server.join().unwrap();
            drop(client.shutdown(Shutdown::Both));
            // The last descriptor of it.
            drop(server);
        }
    }

    fn connections(&self) -> Vec<Link> {
        std::mem::take(&mut *self.shared.connections.lock().unwrap())
    }
}

impl Shared {
    fn accept_all(self: &Arc<Self>, listener: &UnixListener) {
        while let Ok((client, _)) = listener.accept() {
            // Under the lock, so that a cut finds every connection that was accepted before it.
            let mut connections = self.connections.lock().unwrap();
            if self.is_cut.load(Ordering::SeqCst) {
                break;
            }
            let Ok(server) = UnixStream::connect(&self.server) else { continue };
            let clone = |side: &UnixStream| side.try_clone().unwrap();
            let (passes, is_cut) = UnixStream::pair().unwrap();
            let (own, (from, to)) = (Arc::clone(self), (clone(&server), clone(&client)));
            let to_client = start(move || own.pass_on(from, to, &is_cut));
            let (from, to) = (clone(&client), clone(&server));
            let to_server = start(move || copy(from, to));
            connections.push(Link { client, server, passes, to_client, to_server });
        }
    }

    /// Passes on what the server sends. It counts as read there when the client has read it, and not before.
    fn pass_on(&self, mut server: UnixStream, mut client: UnixStream, is_cut: &UnixStream) {
        let mut buffer = vec![0; 64 << 10];
        let watched = Stream::inherited(client.try_clone().unwrap().into()).unwrap();
        loop {
            let news = |stream, flags| PollFd::new(stream, flags);
            let mut polled = [
                news(&server, PollFlags::IN),
                news(is_cut, PollFlags::IN),
                news(&client, PollFlags::empty()),
            ];
            rustix::event::poll(&mut polled, None).unwrap();
            if polled[1..].iter().any(|side| !side.revents().is_empty()) {
                break;
            }
            let (len, _) = rustix::net::recv(&server, &mut *buffer, RecvFlags::PEEK).unwrap_or_default();
            self.bytes_to_clients.fetch_add(len, Ordering::Relaxed);
            if len == 0 || client.write_all(&buffer[..len]).is_err() {
                break;
            }
            if !until_read(&watched, &client) {
                break;
            }
            server.read_exact(&mut buffer[..len]).unwrap();
        }
        if !self.is_cut.load(Ordering::SeqCst) {
            // Whatever ends one direction ends both, as a process does that ends.
            drop((client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both)));
        }
    }
}

/// Waits until a client has read what was written. Returns `false` if it does not.
fn until_read(watched: &Stream, client: &UnixStream) -> bool {
    let deadline = Deadline::after(PATIENCE);
    while !deadline.has_passed() {
        let mut polled = [PollFd::new(client, PollFlags::empty())];
        rustix::event::poll(&mut polled, Some(&Timespec::default())).unwrap();
        if !polled[0].revents().is_empty() {
            return false;
        }
        if watched.unread().unwrap() == 0 {
            return true;
        }
        thread::yield_now();
    }
    false
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
        // Wakes the thread that accepts, which then finds the cut.
        drop(UnixStream::connect(&self.front));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

fn start(body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name("relay".to_owned()).spawn(body).unwrap()
}

/// Copies bytes until one side ends.
fn copy(mut from: UnixStream, mut to: UnixStream) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(len @ 1..) if to.write_all(&buffer[..len]).is_ok() => {}
            // The time of a read is limited, since another thread asks how much is unread.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    drop(from.shutdown(Shutdown::Both));
}
