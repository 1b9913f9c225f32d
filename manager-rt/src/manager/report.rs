//! Asking a manager what happens in it.

use std::iter;
use std::vec::IntoIter;

use crate::backend::CallError;
use crate::manager::Manager;
use crate::proto::{ManagerOp, Payload, Raw, Reply};
use crate::report::{ObjectReport, Report, WaitReport, confirmed, cycles};

/// The part of a report in one answer, and the place at which the next one begins.
type Page<T> = (Vec<T>, Option<u64>);

impl Manager {
    /// Returns what happens in the manager: its clients, the locks that they hold, the calls that wait, and which of them wait
    /// for each other in a circle.
    ///
    /// Several calls fetch it, and each is short, so others are served in between. It takes as long as there are clients, waiting
    /// calls and objects: all objects are looked at, for those that are busy.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::NeedsVersion`] if the server is too old.
    ///
    /// # Crash
    /// What a dead process held is not in it, if that process had ended before the call.
    ///
    /// # Source
    /// `CLIENT LIST` and `INFO` of Redis, `pg_locks` and `pg_stat_activity` of PostgreSQL.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// let manager = mp::manager::Manager::in_process()?;
    /// let door = manager.named("door").lock()?;
    /// let held = door.lock().unwrap();
    /// let report = manager.report()?;
    /// assert_eq!(report.busy[0].name.as_deref(), Some("door"));
    /// let holder = report.busy[0].holder.as_ref().unwrap();
    /// assert_eq!(holder.client, report.clients[0].number);
    /// assert!(report.deadlocks.is_empty());
    /// # drop(held);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn report(&self) -> Result<Report, CallError> {
        let server = match self.ask(ManagerOp::Server)? {
            Reply::Server(server) => *server,
            _ => return Err(CallError::Protocol),
        };
        let clients = self.pages(
            |from| ManagerOp::Clients { from },
            |reply| match reply {
                Reply::Clients { clients, next } => Some((clients, next)),
                _ => None,
            },
        );
        let clients = clients.collect::<Result<_, _>>()?;
        let busy = self.objects_of(true).collect::<Result<_, _>>()?;
        let mut waits = self.waits()?;
        let mut deadlocks = cycles(&waits);
        if !deadlocks.is_empty() {
            waits = self.waits()?;
            deadlocks = confirmed(&deadlocks, &waits);
        }
        Ok(Report { server, clients, busy, waits, deadlocks })
    }

    /// Returns all objects, in no particular order, with and without names.
    ///
    /// The calls that fetch them are made while the iterator runs. An object that exists during the whole time is returned once.
    /// One that is made or removed meanwhile may be returned or not, and Redis may return another one twice then. After an error, nothing follows.
    ///
    /// # Errors
    /// As for [`report`](Self::report).
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// let manager = mp::manager::Manager::in_process()?;
    /// let list = manager.named("list").list::<u8>()?;
    /// list.extend([&1, &2, &3])?;
    /// let objects: Vec<_> = manager.objects().collect::<Result<_, _>>()?;
    /// assert_eq!((objects.len(), objects[0].len), (1, Some(3)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn objects(&self) -> impl Iterator<Item = Result<ObjectReport, CallError>> {
        self.objects_of(false)
    }

    /// Returns what the manager knows about the object with this name, whatever its kind is. This does not make one.
    ///
    /// # Errors
    /// [`Fault::UnknownName`](crate::Fault::UnknownName); as for [`report`](Self::report).
    pub fn object(&self, name: &str) -> Result<ObjectReport, CallError> {
        match self.ask(ManagerOp::Object { name: name.to_owned() })? {
            Reply::Objects { mut objects, .. } => objects.pop().ok_or(CallError::Protocol),
            _ => Err(CallError::Protocol),
        }
    }

    fn objects_of(&self, is_busy: bool) -> impl Iterator<Item = Result<ObjectReport, CallError>> {
        self.pages(
            move |from| ManagerOp::Objects { from, is_busy },
            |reply| match reply {
                Reply::Objects { objects, next } => Some((objects, next)),
                _ => None,
            },
        )
    }

    fn waits(&self) -> Result<Vec<WaitReport>, CallError> {
        let waits = self.pages(
            |after| ManagerOp::Waits { after },
            |reply| match reply {
                Reply::Waits { waits, next } => Some((waits, next)),
                _ => None,
            },
        );
        waits.collect()
    }

    /// Fetches one page after another.
    fn pages<T>(
        &self,
        op: impl Fn(u64) -> ManagerOp<Raw<'static>>,
        take: impl Fn(Reply<Payload>) -> Option<Page<T>>,
    ) -> impl Iterator<Item = Result<T, CallError>> {
        let (mut page, mut from): (IntoIter<T>, _) = (Vec::new().into_iter(), Some(0));
        iter::from_fn(move || {
            loop {
                if let Some(item) = page.next() {
                    return Some(Ok(item));
                }
                let place = from.take()?;
                match self.ask(op(place)).map(&take) {
                    // Each page begins after the last one, so this ends.
                    Ok(Some((items, next))) if next.is_none_or(|next| next > place) => {
                        (page, from) = (items.into_iter(), next);
                    }
                    Ok(_) => return Some(Err(CallError::Protocol)),
                    Err(error) => return Some(Err(error)),
                }
            }
        })
    }
}
