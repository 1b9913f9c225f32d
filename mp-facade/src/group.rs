//! Groups: worker processes that are kept running.
//!
//! | module | content |
//! |---|---|
//! | [`keep`] | settings |
//! | [`slot`] | what the function that starts a worker gets |
//! | [`kind`], [`reload`] | the workers of one kind, and how they are replaced |
//! | [`worker`] | one process |
//! | [`drive`], [`core`] | what the calls of a group do, and what the kinds share |
//! | [`event`], [`error`], [`health`] | what a group reports |
//!
//! Everything happens in calls of the group's owner; there is no thread. The group learns of the ends of its workers by their
//! pidfds, and of time by a timer, all of which wait in one [`ReadySet`](mp_sys::ready::ReadySet).

mod core;
mod drive;
mod error;
mod event;
mod health;
mod keep;
mod kind;
mod reload;
mod slot;
mod worker;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use kernel_ipc::Source;
use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;

use self::core::Core;
pub use self::core::GROUP_EVENTS_MAX;
pub use self::error::{Failure, GroupError};
pub use self::event::{GroupEvent, Place};
pub use self::health::KindHealth;
pub use self::keep::{
    GROUP_CRASHES_DEFAULT, GROUP_GRACE_DEFAULT, GROUP_HEALTHY_DEFAULT, GROUP_PAUSE_MAX_DEFAULT,
    GROUP_PAUSE_MIN_DEFAULT, GROUP_READY_DEFAULT, GROUP_SETTLING, GROUP_WORKERS_MAX, Keep, OnReturn,
};
use self::kind::Kind;
use self::reload::Reload;
pub use self::slot::{Ready, Slot};
use crate::child::Child;
use crate::start::error::StartError;

/// Worker processes of one or more kinds that are kept running.
///
/// A worker that ends is replaced: at once if it has lived for a while, otherwise after a pause that grows. If workers of a
/// place end again and again soon after their start, the group gives up, and the error says what crashed.
///
/// The group has no thread. It works in [`run`](Self::run), which waits like [`wait`](crate::wait()) and keeps the workers
/// running meanwhile; or in [`poll`](Self::poll), for an event loop of your own.
///
/// | property | |
/// |---|---|
/// | threads | one: a group is neither `Send` nor `Sync` |
/// | descriptors | two, one for each worker, and one more for each worker that has yet to say that it is ready |
/// | SIGCHLD | not used |
/// | waits on | a descriptor, which [`AsFd`] returns: readable when [`poll`](Self::poll) has something to do |
/// | drop | does what [`stop`](Self::stop) does |
///
/// # Fork safety
/// The group belongs to the process that made it. In a forked child, its methods return [`GroupError::NotParent`].
///
/// # Crash
/// If this process is killed, workers that were started by [`Slot::process`] end. Others can watch
/// [`parent_process`](crate::parent_process()).
///
/// # Source
/// The supervisors of Erlang/OTP; systemd.service(5); the arbiter of Gunicorn.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
///
/// use mp::{Group, GroupEvent, Keep, OnReturn, RawValue};
///
/// let starts = RawValue::new(0_u32)?;
/// let work = || if starts.fetch_add(1) == 0 { std::process::abort() };
///
/// let mut group = Group::new()?;
/// group.keep("worker", Keep::new(2).on_return(OnReturn::Finish), |slot| slot.process().fork(work))?;
/// let mut crashes = 0;
/// group.run([] as [&std::fs::File; 0], Duration::MAX, |event| {
///     println!("{event}");
///     crashes += u32::from(matches!(event, GroupEvent::Exited { outcome: Err(_), .. }));
/// })?;
/// assert_eq!((crashes, starts.load()), (1, 3)); // one has crashed and was replaced
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Supervisor")]
#[doc(alias = "prefork")]
pub struct Group<'s> {
    core: Core,
    kinds: Vec<Kind<'s>>,
    is_stopping: bool,
    /// The error that ended the group, until it is returned.
    failed: Option<GroupError>,
    owner: Epoch,
}

impl<'s> Group<'s> {
    /// Makes a group without workers.
    ///
    /// # Errors
    /// [`GroupError::System`] if there are no free descriptors.
    pub fn new() -> Result<Self, GroupError> {
        Ok(Self {
            core: Core::new()?,
            kinds: Vec::new(),
            is_stopping: false,
            failed: None,
            owner: Epoch::current(),
        })
    }

    /// Starts workers of a kind, and keeps them running. `keep` is their number, or a [`Keep`] with settings.
    ///
    /// `start` starts one worker each time it is called, now and later. [`Slot::process`] has the settings for that;
    /// [`fork`](crate::fork()), [`spawn`](crate::spawn()) and others work too. If the worker returns a value, it is dropped.
    ///
    /// # Errors
    /// [`GroupError::Start`] if a worker could not be started; [`GroupError::KindExists`], [`GroupError::Settings`],
    /// [`GroupError::Stopping`].
    pub fn keep<R, E: Into<StartError>>(
        &mut self,
        kind: &str,
        keep: impl Into<Keep>,
        mut start: impl FnMut(&Slot) -> Result<Child<R>, E> + 's,
    ) -> Result<&mut Self, GroupError> {
        self.check_open()?;
        let keep = keep.into();
        keep.check()?;
        if self.kinds.iter().any(|other| &*other.name == kind) {
            return Err(GroupError::KindExists(kind.to_owned()));
        }
        let start = move |slot: &Slot| start(slot).map(Child::into_running).map_err(Into::into);
        let mut kind = Kind::new(kind, keep, Box::new(start));
        let begun = kind.begin(&mut self.core);
        match &begun {
            Ok(()) => self.kinds.push(kind),
            Err(_) => kind.resize(0, &mut self.core),
        }
        self.arm()?;
        begun.map(|()| self)
    }

    /// Waits for sources as [`wait`](crate::wait()) does, and keeps the workers running meanwhile. Returns the keys of the
    /// sources that are ready; none when `timeout` has passed (monotonic clock; `Duration::MAX` waits for ever), and none
    /// when [all workers have ended](Self::is_over) and no other follows.
    ///
    /// `on_event` is called for each event, in order. To react to signals, let a handler write into a socket that is one of
    /// the sources: the guide's page on supervising shows how.
    ///
    /// # Errors
    /// [`GroupError::Crashes`]; all other workers are asked to end then. You can run the group again until they have.
    pub fn run<I>(
        &mut self,
        sources: I,
        timeout: Duration,
        mut on_event: impl FnMut(GroupEvent),
    ) -> Result<Vec<<I::Item as Source>::Key>, GroupError>
    where
        I: IntoIterator,
        I::Item: Source,
    {
        let deadline = Deadline::after(timeout);
        let sources: Vec<I::Item> = sources.into_iter().collect();
        loop {
            self.check_owner()?;
            self.advance();
            while let Some(event) = self.core.next_event() {
                on_event(event);
            }
            self.fail()?;
            self.arm()?;
            let is_last = self.is_over() || deadline.has_passed();
            let files: Vec<BorrowedFd<'_>> =
                sources.iter().map(Source::file).chain([self.core.set().as_fd()]).collect();
            let left = if is_last { Duration::ZERO } else { deadline.remaining() };
            let ready = kernel_ipc::wait(files, left)?;
            if is_last || ready.iter().any(|position| *position < sources.len()) {
                let keys = sources.into_iter().enumerate();
                let keys = keys.filter(|(position, _)| ready.contains(position));
                return Ok(keys.map(|(position, source)| source.into_key(position)).collect());
            }
        }
    }

    /// Does what there is to do, without waiting, and returns the next event, if there is one. Call it until it returns
    /// `None` whenever the group's descriptor is readable.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn poll(&mut self) -> Result<Option<GroupEvent>, GroupError> {
        self.check_owner()?;
        if !self.core.has_events() {
            self.fail()?;
            self.advance();
        }
        let event = self.core.next_event();
        if event.is_none() {
            self.fail()?;
        }
        self.arm()?;
        Ok(event)
    }

    /// Changes the number of workers of a kind. New ones are started at once. The last ones are asked to end, and killed after
    /// their grace period.
    ///
    /// # Errors
    /// [`GroupError::NoSuchKind`], [`GroupError::Settings`], [`GroupError::Stopping`].
    #[doc(alias = "scale")]
    pub fn resize(&mut self, kind: &str, workers: usize) -> Result<(), GroupError> {
        self.check_open()?;
        keep::check_workers(workers)?;
        let (kind, core) = self.kind(kind)?;
        kind.resize(workers, core);
        self.advance();
        self.arm()
    }

    /// Begins to replace the workers of a kind, one after the other, and returns. For each place, it starts another worker,
    /// waits until that one is [ready](Slot::ready), and asks the old one to end. [`GroupEvent::Reloaded`] or
    /// [`GroupEvent::NotReloaded`] reports the end. If a reload is under way, it begins again at its end.
    ///
    /// # Errors
    /// [`GroupError::NoSuchKind`], [`GroupError::Stopping`].
    pub fn begin_reload(&mut self, kind: &str) -> Result<(), GroupError> {
        self.check_open()?;
        let (kind, _) = self.kind(kind)?;
        kind.reloaded = None;
        match &mut kind.reload {
            Some(reload) => reload.again = true,
            None => kind.reload = Some(Reload::default()),
        }
        self.advance();
        self.arm()
    }

    /// Replaces the workers of a kind as [`begin_reload`](Self::begin_reload) does, and waits for the end. Events wait until you
    /// take them.
    ///
    /// # Errors
    /// [`GroupError::Reload`] if a replacement failed: its worker goes on then, and so do those that the reload had not
    /// reached. [`GroupError::NoSuchKind`], [`GroupError::Stopping`], and the error that ended the group.
    ///
    /// # Examples
    /// ```standalone_crate
    /// let mut group = mp::Group::new()?;
    /// group.keep("worker", 2, |slot| {
    ///     let ready = slot.ready();
    ///     slot.process().fork(move || -> () {
    ///         ready.set();
    ///         loop { std::thread::park() }
    ///     })
    /// })?;
    /// let before = group.health()[0].pids.clone();
    /// group.reload("worker")?;
    /// assert!(group.health()[0].pids.iter().all(|pid| !before.contains(pid)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reload(&mut self, kind: &str) -> Result<(), GroupError> {
        self.begin_reload(kind)?;
        loop {
            self.fail()?;
            let (found, _) = self.kind(kind)?;
            if let Some(reloaded) = found.reloaded.take() {
                return reloaded;
            }
            self.wait()?;
        }
    }

    /// Ends the worker of a place by SIGKILL, whatever it does. Another one follows. Returns `false` if there is none at
    /// present.
    ///
    /// # Errors
    /// [`GroupError::NoSuchKind`].
    pub fn kill(&mut self, kind: &str, index: usize) -> Result<bool, GroupError> {
        let (kind, _) = self.kind(kind)?;
        let worker = kind.seats.get(index).and_then(|seat| seat.current.as_ref());
        Ok(worker.map(worker::Worker::kill).is_some())
    }

    /// Asks all workers to end, by SIGTERM, and returns. [`run`](Self::run) and [`poll`](Self::poll) kill those that have not
    /// ended after their [grace period](Keep::grace).
    ///
    /// # Errors
    /// [`GroupError::NotParent`], [`GroupError::System`].
    pub fn begin_stop(&mut self) -> Result<(), GroupError> {
        self.check_owner()?;
        self.ask_all_to_end();
        self.arm()
    }

    /// Asks all workers to end, kills those that do not, and returns when all have ended. Events wait until you take them.
    ///
    /// # Errors
    /// [`GroupError::NotParent`], [`GroupError::System`].
    pub fn stop(&mut self) -> Result<(), GroupError> {
        self.begin_stop()?;
        while self.core.has_ending() {
            self.wait()?;
        }
        Ok(())
    }

    /// Returns whether all workers have ended, and no other follows: because they were asked to end, or because all of them
    /// have [finished](OnReturn::Finish).
    #[must_use]
    pub fn is_over(&self) -> bool {
        let mut seats = self.kinds.iter().flat_map(|kind| &kind.seats).peekable();
        let has_ended = self.is_stopping || seats.peek().is_some();
        has_ended && !self.core.has_ending() && seats.all(|seat| seat.is_done)
    }

    /// Returns how each kind of workers is, in the order in which they were added.
    #[must_use]
    pub fn health(&self) -> Vec<KindHealth> {
        self.kinds.iter().map(Kind::health).collect()
    }

    fn check_owner(&self) -> Result<(), GroupError> {
        if self.owner.is_current() { Ok(()) } else { Err(GroupError::NotParent) }
    }

    fn check_open(&self) -> Result<(), GroupError> {
        self.check_owner()?;
        if self.is_stopping { Err(GroupError::Stopping) } else { Ok(()) }
    }

    fn kind(&mut self, name: &str) -> Result<(&mut Kind<'s>, &mut Core), GroupError> {
        self.check_owner()?;
        match self.kinds.iter_mut().find(|kind| &*kind.name == name) {
            Some(kind) => Ok((kind, &mut self.core)),
            None => Err(GroupError::NoSuchKind(name.to_owned())),
        }
    }

    /// Returns the error that ended the group, once.
    fn fail(&mut self) -> Result<(), GroupError> {
        self.failed.take().map_or(Ok(()), Err)
    }
}

impl AsFd for Group<'_> {
    /// Readable when [`poll`](Self::poll) has something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.set().as_fd()
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        if !self.owner.is_current() {
            return;
        }
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "the workers of a group are killed, because it cannot wait for them");
            self.core.kill_all();
        }
    }
}

impl fmt::Debug for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seats = || self.kinds.iter().flat_map(|kind| &kind.seats);
        let present = seats().filter(|seat| seat.current.is_some()).count();
        write!(f, "Group({present} of {} workers, {} kinds", seats().count(), self.kinds.len())?;
        f.write_str(if self.is_stopping { ", stopping)" } else { ")" })
    }
}
