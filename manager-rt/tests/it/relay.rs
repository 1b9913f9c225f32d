//! A relay between clients and a server: it counts bytes, and ends connections as the death of a process would.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use manager_rt::{Address, Manager};

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
    /// Both sides of each connection.
    sides: Mutex<Vec<[UnixStream; 2]>>,
    is_cut: AtomicBool,
    bytes_to_clients: AtomicUsize,
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
            sides: Mutex::default(),
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
        for side in self.shared.sides.lock().unwrap().drain(..).flatten() {
            drop(side.shutdown(Shutdown::Both));
        }
    }

    /// Ends all connections, and accepts no more.
    pub(crate) fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        self.sever();
    }
}

impl Shared {
    fn accept_all(self: &Arc<Self>, listener: &UnixListener) {
        let mut copying = Vec::new();
        while let Ok((client, _)) = listener.accept() {
            // Under the lock, so that a cut finds every connection that was accepted before it.
            let mut sides = self.sides.lock().unwrap();
            if self.is_cut.load(Ordering::SeqCst) {
                break;
            }
            let Ok(server) = UnixStream::connect(&self.server) else { continue };
            let clone = |side: &UnixStream| side.try_clone().unwrap();
            let (own, (from, to)) = (Arc::clone(self), (clone(&server), clone(&client)));
            copying.push(start(move || copy(from, to, &own.bytes_to_clients)));
            let (from, to) = (clone(&client), clone(&server));
            copying.push(start(move || copy(from, to, &AtomicUsize::new(0))));
            sides.push([client, server]);
        }
        copying.into_iter().for_each(|thread| thread.join().unwrap());
    }
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

/// Copies bytes until one side ends, and counts them.
fn copy(mut from: UnixStream, mut to: UnixStream, count: &AtomicUsize) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        count.fetch_add(len, Ordering::Relaxed);
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    // Whatever ends one direction ends both, as a process does that ends.
    drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
}
