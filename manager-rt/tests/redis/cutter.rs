//! A proxy between a program and Redis that cuts a connection at a step: when a command, or an answer, is on its way.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::There;
use crate::server::Server;

/// What is cut: all of what is on its way at this step, or its second half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    All,
    Half,
}

/// The number of steps until the cut.
type Plan = Arc<Mutex<Option<(u32, Lost)>>>;

/// The proxy. Its threads end with their connections, and the first one with the test program.
pub(crate) struct Cutter {
    port: u16,
    plan: Plan,
}

impl Cutter {
    pub(crate) fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, socket, plan) = (listener.local_addr().unwrap().port(), server.socket(), Plan::default());
        let cutter = Self { port, plan: Arc::clone(&plan) };
        run_aside(move || accept(&listener, &socket, &plan));
        cutter
    }

    pub(crate) fn url(&self, there: &There<'_>) -> String {
        format!("redis://127.0.0.1:{}?ns={}&lease=3600s", self.port, there.namespace())
    }

    /// Cuts the connection whose bytes are the `step`-th to arrive here from now on, in either direction.
    pub(crate) fn cut_at(&self, step: u32, lost: Lost) {
        *self.plan.lock().unwrap() = Some((step, lost));
    }

    /// Cuts nothing any more. Returns whether it has cut what it was told to.
    pub(crate) fn stop(&self) -> bool {
        self.plan.lock().unwrap().take().is_none()
    }
}

fn run_aside(body: impl FnOnce() + Send + 'static) {
    drop(std::thread::Builder::new().name("cutter".to_owned()).spawn(body).unwrap());
}

fn accept(listener: &TcpListener, socket: &Path, plan: &Plan) {
    for client in listener.incoming() {
        let (client, socket, plan): (_, PathBuf, _) = (client.unwrap(), socket.to_owned(), Arc::clone(plan));
        let Ok(server) = UnixStream::connect(&socket) else { return };
        run_aside(move || {
            let cut = || drop((client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both)));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    pass_on(&server, &client, &plan);
                    cut();
                });
                pass_on(&client, &server, &plan);
                cut();
            });
        });
    }
}

/// Passes bytes on until the connection is cut, or ends.
fn pass_on(mut from: impl Read, mut to: impl Write, plan: &Mutex<Option<(u32, Lost)>>) {
    let mut bytes = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let mut planned = plan.lock().unwrap();
        let due = planned.take_if(|(step, _)| *step == 1);
        planned.iter_mut().for_each(|(step, _)| *step -= 1);
        drop(planned);
        let kept = match due {
            None => count,
            Some((_, Lost::All)) => 0,
            Some((_, Lost::Half)) => count / 2,
        };
        if to.write_all(&bytes[..kept]).is_err() || due.is_some() {
            break;
        }
    }
}
