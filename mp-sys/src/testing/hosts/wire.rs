//! The wire between two hosts: packets of one host's interface, which a thread carries to the other one, or not.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::{c_int, c_short};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::deadline::now_nanos;

/// The longest packet of an interface, and some more, in bytes.
const PACKET_BYTES_MAX: usize = 2_048;
/// The longest pause before the wire looks whether it has ended.
const LOOK: Duration = Duration::from_millis(10);
/// The size of the kernel's `struct ifreq`, in bytes.
const REQUEST_BYTES: usize = 40;
/// The longest name of an interface, with the zero behind it, in bytes.
const NAME_BYTES: usize = 16;

/// What happens to packets on their way.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Out of a hundred packets, this many get lost.
    pub lost: u64,
    /// Out of a hundred packets, this many take three times as long, so that others overtake them.
    pub late: u64,
    /// How long packets take.
    pub delay: Duration,
    /// What chance begins with: the same seed loses the same packets, by their numbers.
    pub seed: u64,
}

impl Weather {
    /// Nothing happens to them.
    #[must_use]
    pub const fn fair() -> Self {
        Self { lost: 0, late: 0, delay: Duration::ZERO, seed: 1 }
    }
}

/// Makes an interface of this name in the calling thread's namespace. What the host sends over it can be read from the
/// file, and what is written to the file arrives at the host.
///
/// # Errors
/// Those of open(2) and ioctl(2).
pub(super) fn open(name: &str) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/net/tun")?;
    let mut request = [0_u8; REQUEST_BYTES];
    let kind = c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI).map_err(io::Error::other)?;
    let place = request.get_mut(..name.len()).filter(|_| name.len() < NAME_BYTES);
    place.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(name.as_bytes());
    let kind_place = request.get_mut(NAME_BYTES..NAME_BYTES.saturating_add(size_of::<c_short>()));
    kind_place.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(&kind.to_ne_bytes());
    // SAFETY: the descriptor is open, and TUNSETIFF reads and writes one `struct ifreq`, which is as long as the array.
    let outcome: c_int = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

/// A thread that carries packets. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Wire {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_cut: AtomicBool,
    has_ended: AtomicBool,
}

impl Wire {
    /// Joins two interfaces.
    ///
    /// # Errors
    /// If there is no thread.
    pub(super) fn new(ends: [File; 2], weather: Weather) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let chance = weather.seed.max(1);
        let carrier = Carrier { ends, weather, chance, under_way: BinaryHeap::new(), sent: 0 };
        let ours = Arc::clone(&shared);
        let builder = thread::Builder::new().name("wire".to_owned());
        let thread = Some(builder.spawn(move || carrier.run(&ours))?);
        Ok(Self { shared, thread })
    }

    /// Cuts the wire, or mends it.
    pub(super) fn cut(&self, is_cut: bool) {
        self.shared.is_cut.store(is_cut, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        // It panics only if the system fails, and has said so.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A packet under way: when it arrives, its number, the end at which it arrives, and its bytes.
type Packet = Reverse<(u64, u64, usize, Vec<u8>)>;

struct Carrier {
    ends: [File; 2],
    weather: Weather,
    chance: u64,
    under_way: BinaryHeap<Packet>,
    sent: u64,
}

impl Carrier {
    fn run(mut self, shared: &Shared) {
        while !shared.has_ended.load(Ordering::Relaxed) {
            self.wait();
            let is_cut = shared.is_cut.load(Ordering::Relaxed);
            for from in 0..self.ends.len() {
                self.take(from, is_cut);
            }
            if is_cut {
                self.under_way.clear();
            }
            self.deliver();
        }
    }

    /// Waits until a host sends something, or a packet arrives.
    fn wait(&self) {
        let next = self
            .under_way
            .peek()
            .map(|Reverse((at, ..))| Duration::from_nanos(at.saturating_sub(now_nanos())));
        let patience = Timespec::try_from(next.unwrap_or(LOOK).min(LOOK)).unwrap_or_default();
        let [one, two] = &self.ends;
        let mut asked = [one, two].map(|end| PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN));
        // An interrupted wait is only a shorter one.
        let _ready = poll(&mut asked, Some(&patience));
    }

    /// Takes what a host has sent.
    fn take(&mut self, from: usize, is_cut: bool) {
        let mut packet = [0; PACKET_BYTES_MAX];
        while let Some(Ok(len)) = self.ends.get(from).map(|mut end| end.read(&mut packet)) {
            let is_lost = self.happens(self.weather.lost);
            let slower = if self.happens(self.weather.late) { 3 } else { 1 };
            if is_lost || is_cut {
                continue;
            }
            let takes = u64::try_from(self.weather.delay.as_nanos()).unwrap_or(0).saturating_mul(slower);
            self.sent = self.sent.saturating_add(1);
            let bytes = packet.get(..len).unwrap_or_default().to_vec();
            self.under_way.push(Reverse((now_nanos().saturating_add(takes), self.sent, from ^ 1, bytes)));
        }
    }

    /// Hands over the packets whose time has come. A host that has no room for one loses it.
    fn deliver(&mut self) {
        let now = now_nanos();
        while self.under_way.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            if let Some(Reverse((_, _, to, bytes))) = self.under_way.pop()
                && let Some(mut end) = self.ends.get(to)
            {
                drop(end.write(&bytes));
            }
        }
    }

    /// Returns `true` this many times out of a hundred (xorshift).
    fn happens(&mut self, percent: u64) -> bool {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance.checked_rem(100).is_some_and(|number| number < percent)
    }
}
