//! The page of a server, for people and for Prometheus: `serve --http`.
//!
//! It runs in a process of its own, and is an ordinary client of the server: whatever browsers do, it asks the manager for one
//! report at a time, and not more often than [`SAMPLE_AGE_MAX`]. So it cannot keep the server's clients waiting for longer than any
//! other client can. It is no thread of the server, since a process with several threads cannot fork a copy of itself to write a snapshot.
//! The kernel ends it with the server, in whatever way that ends. A process in between starts it, and starts it again if it ends.
//!
//! | module | what it holds |
//! |---|---|
//! | [`routes`] | what each path answers, to whom, and with which headers |
//! | [`source`] | the newest report of the manager |
//! | [`page`], [`metrics`] | the report as a page, and as metrics |
//! | [`limits`] | what a browser can make the thread hold or wait for |
//!
//! [`SAMPLE_AGE_MAX`]: limits::SAMPLE_AGE_MAX

mod limits;
mod metrics;
mod page;
mod routes;
mod source;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, PipeWriter, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mp_sys::child::{ChildProcess, Lifeline, fork, own_pid};
use mp_sys::deadline::Deadline;
use mp_sys::signals::ignore_shutdown;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use self::limits::{
    ACCEPT_PAUSE, CONNECTION_TIME_MAX, CONNECTIONS_MAX, HEADER_BYTES_MAX, HEADER_TIME_MAX, HEADERS_MAX,
};
use self::routes::Site;
pub(crate) use self::source::Connect;
use self::source::Source;
use crate::failure::Failure;
use crate::output;

/// The exit code of a process of the page, which goes on until it is ended.
const FAILED: i32 = 1;

/// The pause before a page that has ended is started again. It doubles with each page that soon ends, so that one that never comes to
/// serve does not fill the log.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// The longest pause. A page that has run for longer than this begins with the shortest again.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(60);

/// The process that watches the one that serves the page.
pub(crate) struct Page {
    writer: PipeWriter,
    _child: ChildProcess,
}

impl Page {
    /// Tells the process where the server is, so that it begins to serve.
    ///
    /// # Errors
    /// [`Failure::Failed`].
    pub(crate) fn begin(&mut self, address: &str) -> Result<(), Failure> {
        writeln!(self.writer, "{address}")
            .map_err(|error| Failure::Failed(format!("the process for --http has ended: {error}")))
    }
}

/// A socket at which the page is served.
pub(crate) struct Http {
    listener: TcpListener,
    address: SocketAddr,
    names: Vec<String>,
}

impl Http {
    /// Listens at an address.
    ///
    /// # Errors
    /// [`Failure::Usage`] for an address that other hosts reach, unless they may; [`Failure::Unreachable`].
    pub(crate) fn bind(at: SocketAddr, is_public: bool, names: &[String]) -> Result<Self, Failure> {
        if !is_public && !at.ip().to_canonical().is_loopback() {
            return Err(Failure::Usage(format!(
                "--http {at}: other hosts reach this address, and the page has no password; add --http-public if that is intended"
            )));
        }
        let failed =
            |error: io::Error| Failure::Unreachable(format!("cannot listen at http://{at}/: {error}"));
        let listener = TcpListener::bind(at).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, names: names.to_vec() })
    }

    /// Returns the address of the page.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Starts the process that serves the page. It waits until it hears where the server is. `connect` makes of that what
    /// connects to the server. Only for a process with one thread.
    ///
    /// # Errors
    /// [`Failure::Failed`].
    pub(crate) fn start(self, connect: impl FnOnce(String) -> Connect) -> Result<Page, Failure> {
        let failed = |error: &dyn Display| Failure::Failed(format!("no process for --http: {error}"));
        let (reader, writer) = io::pipe().map_err(|error| failed(&error))?;
        let lifeline = Lifeline::new().map_err(|error| failed(&error))?;
        let starter = own_pid();
        let watch = || {
            // Ctrl-C and a terminal that is closed reach it as well, and the server may still be saving.
            ignore_shutdown();
            if !lifeline.hold(Some(starter)).is_ok_and(|holds| holds) {
                return FAILED;
            }
            let mut address = String::new();
            // If the server ends meanwhile, so does this process.
            match BufReader::new(reader).read_line(&mut address) {
                Ok(1..) => self.watch(&connect(address.trim_end().to_owned())),
                _ => FAILED,
            }
        };
        let child = fork(watch).map_err(|error| failed(&error))?;
        Ok(Page { writer, _child: child })
    }

    /// Serves in a process of its own. If that ends, says so, and starts another one. Returns the exit code if that is not possible.
    fn watch(&self, connect: &Connect) -> i32 {
        let mut pause = AGAIN_AFTER;
        loop {
            let began = Instant::now();
            let (lifeline, starter) = (Lifeline::new(), own_pid());
            let page = fork(|| match lifeline.map(|lifeline| lifeline.hold(Some(starter))) {
                Ok(Ok(true)) => self.run(connect),
                _ => FAILED,
            });
            let ended = page.map(|page| page.wait(Deadline::NEVER));
            if began.elapsed() > AGAIN_AFTER_MAX {
                pause = AGAIN_AFTER;
            }
            output::note(&format!(
                "the process for --http has ended, and is started again in {pause:?}: {ended:?}"
            ));
            thread::sleep(pause);
            pause = next_pause(pause);
        }
    }

    /// Serves until this process is ended.
    fn run(&self, connect: &Connect) -> i32 {
        match runtime::Builder::new_current_thread().enable_io().enable_time().build() {
            Ok(runtime) => runtime.block_on(self.serve(Arc::clone(connect))),
            Err(error) => output::note(&format!("--http: no event loop: {error}")),
        }
        FAILED
    }

    async fn serve(&self, connect: Connect) {
        let listener = self.listener.try_clone().and_then(tokio::net::TcpListener::from_std);
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return output::note(&format!("--http: {error}")),
        };
        let site = Arc::new(Site::new(self.names.clone(), Source::new(connect)));
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            // Above the limit, browsers wait in the kernel's backlog.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let site = Arc::clone(&site);
                    tokio::spawn(async move {
                        // A browser that neither asks nor reads takes a place for this long.
                        drop(timeout(CONNECTION_TIME_MAX, converse(stream, site)).await);
                        drop(place);
                    });
                }
                // The browser left, or there is no descriptor.
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

/// Returns the pause after this one, if the page has soon ended again.
fn next_pause(pause: Duration) -> Duration {
    pause.saturating_mul(2).min(AGAIN_AFTER_MAX)
}

/// Answers the requests of one connection until it ends.
async fn converse(stream: TcpStream, site: Arc<Site>) {
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { site.answer(&request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // An error says that the browser left, was too slow, or does not speak HTTP. hyper has answered it if it could.
    drop(connection.await);
}
