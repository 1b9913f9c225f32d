//! Segments of shared memory with a name, for programs of which neither started the other.
//!
//! A segment is a file in /dev/shm: a page of header, and one object behind it. These properties make names safe to
//! use:
//!
//! - **No process sees half a segment.** It is made without a name (`O_TMPFILE`), filled, and then linked in one step.
//! - **A name goes with its last holder**, unless a process made it [stay](Segment::persist). Every holder keeps a shared
//!   `flock`. A process that drops a handle closes it, opens the file again and tries an exclusive lock. If that works, no
//!   other process is there, and the name is removed. (Converting its own lock would wrongly succeed while a forked child
//!   still holds it.) The mark that a name stays is made under a shared lock and read under the exclusive one.
//! - **A name that a killed process left is not found.** A process that creates, opens or lists first tries the exclusive
//!   lock on the existing file. If it works, the name is removed.
//! - **The wrong type is an error.** The header contains the layout version, the C library and word size (which decide the
//!   layout of a mutex), the class and kind of the object, and a fingerprint of its element type.
//!
//! The owner of the file can truncate it, and then every access ends in SIGBUS. The file has mode 0600, so only processes of
//! the same user can do that. `systemd` removes a user's files in /dev/shm at logout if `RemoveIPC` is set.
//!
//! Source: shm_overview(7), open(2) `O_TMPFILE`, linkat(2), flock(2).

mod error;
mod file;
mod header;
mod listed;
mod what;

use std::collections::HashMap;
use std::marker::PhantomData;
use std::mem::size_of;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};

use rustix::fs::{FlockOperation, Mode, OFlags, Stat, flock, fstat};
use rustix::io::Errno;

pub use self::error::NameError;
pub(crate) use self::file::FileName;
use self::file::{FOLDER, open_held, path_of, publish, remove_name_of, same_file};
pub use self::file::{NAME_BYTES_MAX, names, sweep, unlink_name};
pub use self::header::{Expected, HEADER_BYTES, TYPE_NAME_BYTES_MAX};
pub use self::listed::{Listed, list};
pub(crate) use self::what::first_word;
pub use self::what::{Kind, What, fingerprint};
use crate::descriptors::open;
use crate::fork::PerProcess;
use crate::memory::{Mapping, MemoryError};
use crate::span::Span;

const MAGIC: u64 = u64::from_ne_bytes(*b"mp-named");
/// Changes with every change of a layout in shared memory.
const LAYOUT_VERSION: u32 = 3;

/// The description of an object on which two programs must agree before one opens it: what it is, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// Kind and element type.
    pub what: What,
    /// The number of elements.
    pub len: u64,
}

/// An object that can be in a segment. Its class is stored beside it, so that one process never uses bytes as a lock while
/// another uses them as plain elements.
pub trait Placed {
    /// A number for each type that implements this trait, not 0.
    const CLASS: u8;

    /// The span of the object.
    fn span(&self) -> &Span;
}

/// A span in which this process or another one made an object `O` before.
#[derive(Debug)]
pub struct ExistingSpan<O> {
    span: Span,
    object: PhantomData<fn() -> O>,
}

impl<O> ExistingSpan<O> {
    /// Wraps a span in which an object `O` was made, as the caller knows.
    pub(crate) fn of(span: Span) -> Self {
        Self { span, object: PhantomData }
    }

    pub(crate) fn into_span(self) -> Span {
        self.span
    }
}

/// A segment with a name, mapped here. A clone is one more holder of it in this process.
#[derive(Debug, Clone)]
pub struct Segment {
    mapping: Arc<Mapping>,
    name: String,
    description: Description,
}

/// The mappings of named segments, by device and inode: a lock must be used through one address in a process.
static OPEN: PerProcess<HashMap<(u64, u64), Weak<Mapping>>> = PerProcess::inherited();

impl Segment {
    /// Makes a segment with `bytes` zeroed bytes behind its header, lets `fill` make the object in them, and then links it
    /// to its name. Lists show `type_name` without modules.
    ///
    /// # Errors
    /// [`NameError::Exists`] if a living process has a segment of this name; [`NameError::BadName`]; and shortage.
    pub fn create<O: Placed>(
        name: &str,
        bytes: usize,
        description: Description,
        type_name: &str,
        fill: impl FnOnce(Span) -> Result<O, Span>,
    ) -> Result<(Self, O), NameError> {
        let path = path_of(name)?;
        sweep();
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = open(FOLDER, flags, Mode::RUSR | Mode::WUSR).map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR => NameError::NoFolder,
            other => other.into(),
        })?;
        flock(&file, FlockOperation::NonBlockingLockShared)?;
        let too_large = MemoryError::NoSpace { wanted: u64::MAX, available: 0 };
        let length = bytes.checked_add(HEADER_BYTES).ok_or(too_large)?;
        let mapping = Mapping::reserve_in(file, length)?;
        header::write::<O>(&mapping, description, type_name);
        // The span is never too small: the segment has as many bytes as were asked for.
        let object = fill(Span::over(&mapping, HEADER_BYTES)).map_err(|_| too_large)?;
        crate::crash::point();
        // Another thread may open it as soon as it has its name, and must find this mapping.
        find_again(&mapping)?;
        publish(&mapping, &path)?;
        crate::crash::point();
        mapping.set_name(FileName::of(path, &mapping)?);
        crate::crash::point();
        Ok((Self { mapping, name: name.to_owned(), description }, object))
    }

    /// Opens the segment with this name if it contains what is `expected`, and lets `attach` make a handle of the object in it.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for a name that killed processes left; [`NameError::WrongType`] for another class,
    /// kind or element type; [`NameError::WrongVersion`]; [`NameError::PermissionDenied`] for a file that others can
    /// change.
    pub fn open<O: Placed>(
        name: &str,
        expected: Expected<'_>,
        attach: impl FnOnce(Description, ExistingSpan<O>) -> Option<O>,
    ) -> Result<(Self, O), NameError> {
        let path = path_of(name)?;
        let file = open_held(&path)?;
        let mapping = map_once(file)?;
        // This comes before anything can fail: the last handle that is dropped removes the name.
        mapping.set_name(FileName::of(path, &mapping)?);
        let description = header::check::<O>(&mapping, name, expected)?;
        let existing = ExistingSpan::of(Span::over(&mapping, HEADER_BYTES));
        let object = attach(description, existing).ok_or(NameError::WrongVersion)?;
        Ok((Self { mapping, name: name.to_owned(), description }, object))
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the name stay when no process holds the object any more, until it is unlinked or the machine restarts.
    ///
    /// # Errors
    /// [`NameError::NotFound`] if the name was unlinked, and perhaps given to another object.
    pub fn persist(&self) -> Result<(), NameError> {
        if !file::is_named(&path_of(&self.name)?, self.mapping.as_fd()) {
            return Err(NameError::NotFound);
        }
        header::set_persistent(&self.mapping);
        crate::crash::point();
        Ok(())
    }

    /// Removes the name of this object. Processes that hold the object keep it.
    ///
    /// # Errors
    /// [`NameError::NotFound`] if the name was unlinked, and perhaps given to another object.
    pub fn unlink(&self) -> Result<(), NameError> {
        remove_name_of(&path_of(&self.name)?, self.mapping.as_fd())
    }

    /// Returns the file, which travels in a message. While the message is under way, the name is in use.
    #[must_use]
    pub fn file(&self) -> &Arc<OwnedFd> {
        self.mapping.file()
    }

    /// Whether this is the segment in `file`.
    #[must_use]
    pub fn is_in(&self, file: impl AsFd) -> bool {
        let own = fstat(self.mapping.as_fd());
        matches!((own, fstat(file)), (Ok(own), Ok(other)) if same_file(&own, &other))
    }

    /// Returns what the object is.
    #[must_use]
    pub fn description(&self) -> Description {
        self.description
    }
}

/// What must be equal in two programs that map one object.
pub(crate) fn version() -> u64 {
    u64::from(LAYOUT_VERSION) | u64::from(abi()) << 32
}

/// What must be equal in two programs that use one mutex: word size, byte order, and the C library's layout.
fn abi() -> u32 {
    let library = if cfg!(target_env = "musl") { 2 } else { 1 };
    let word = u32::try_from(size_of::<usize>()).unwrap_or(0);
    let mutex = u32::try_from(size_of::<libc::pthread_mutex_t>()).unwrap_or(0);
    let order = u32::from(cfg!(target_endian = "big"));
    library | word << 8 | mutex << 16 | order << 31
}

pub(super) fn key_of(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Records a mapping, so that this process maps the file once.
pub(crate) fn find_again(mapping: &Arc<Mapping>) -> Result<(), Errno> {
    let key = key_of(&fstat(mapping.as_fd())?);
    let mut open = OPEN.lock();
    open.retain(|_, mapping| mapping.strong_count() > 0);
    open.insert(key, Arc::downgrade(mapping));
    Ok(())
}

/// Returns the mapping of this file in this process: the existing one, or a new one.
fn map_once(file: OwnedFd) -> Result<Arc<Mapping>, NameError> {
    let found = fstat(&file)?;
    let mut open = OPEN.lock();
    if let Some(mapping) = open.get(&key_of(&found)).and_then(Weak::upgrade) {
        return Ok(mapping);
    }
    let length = usize::try_from(found.st_size).unwrap_or(0);
    if length < HEADER_BYTES {
        return Err(NameError::WrongVersion);
    }
    let mapping = Mapping::of_others(file, length, found.st_size.unsigned_abs())?;
    open.retain(|_, mapping| mapping.strong_count() > 0);
    open.insert(key_of(&found), Arc::downgrade(&mapping));
    Ok(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::SharedCell;
    use crate::locked::Locked;
    use crate::span::Chunk;
    use crate::travel::{self, TravelError};

    fn what(kind: u8, print: u64) -> What {
        What { kind: Kind::new(kind), print }
    }

    fn expected(what: What) -> Expected<'static> {
        Expected { what, type_name: "u64", words: |kind, element| format!("{kind} of {element}") }
    }

    /// The class was once combined with the hash of the type by xor, so a program that chose the hash chose the class.
    const CLASSES_BEFORE: [u64; 2] = [0x4345_4c4c, 0x4c4f_434b];

    #[test]
    fn a_name_is_opened_as_its_own_class_kind_and_type_only() {
        let name = format!("unit-what-{}", crate::deadline::now_nanos());
        let description = Description { what: what(3, 77), len: 1 };
        let make = |span| SharedCell::<u64>::new(span);
        let made = Segment::create(&name, 64, description, "u64", make).unwrap();
        let as_lock =
            |what| Segment::open(&name, expected(what), |_, span| Locked::attach(span).ok()).map(drop);
        let attach = |_, span| SharedCell::<u64>::attach(span).ok();
        let as_cell = |what| Segment::open(&name, expected(what), attach).map(drop);
        let wrong = |found: &str, expected: &str| {
            Err(NameError::WrongType { name: name.clone(), found: found.into(), expected: expected.into() })
        };
        let unlike = wrong("3 of u64 with another layout", "3 of u64");
        assert_eq!(as_cell(what(3, 77)), Ok(()));
        assert_eq!(as_cell(what(4, 77)), wrong("3 of u64", "4 of u64"), "another kind");
        assert_eq!(as_cell(what(3, 78)), unlike, "another type");
        assert_eq!(as_lock(what(3, 77)), unlike, "another class");
        let [cell, lock] = CLASSES_BEFORE;
        assert_eq!(as_lock(what(3, 77 ^ cell ^ lock)), unlike, "by a chosen hash");
        drop(made);
    }

    /// A gap, see docs/SAFETY.md.
    #[test]
    fn a_closure_that_makes_its_object_elsewhere_is_believed() {
        let name = format!("unit-elsewhere-{}", crate::deadline::now_nanos());
        let description = Description { what: what(3, 77), len: 1 };
        let elsewhere = Chunk::new(4096).unwrap().cut(64).unwrap();
        let make = |_: Span| SharedCell::<u64>::new(elsewhere);
        let (_segment, made) = Segment::create(&name, 64, description, "u64", make).unwrap();
        made.store(5);
        let attach = |_, span| SharedCell::<u64>::attach(span).ok();
        let (_segment, found) = Segment::open(&name, expected(what(3, 77)), attach).unwrap();
        assert_eq!(found.load(), 0, "another object, of the same type");
    }

    #[test]
    fn an_object_arrives_as_its_own_class_kind_and_type_only() {
        let span = Chunk::new(4096).unwrap().cut(64).unwrap();
        let cell = SharedCell::<u64>::new(span).unwrap();
        let (parcel, luggage) = travel::encode(9, || travel::pack_object(&cell, what(3, 77), 1).unwrap());
        let files = || luggage.descriptors.iter().map(|file| file.try_clone().unwrap()).collect();
        // A forged message describes the object as the receiver expects it.
        let arrive = |class: u64, what: What, length: u64| {
            let [index, at, ..] = parcel;
            let forged = [index, at, length, class << 8 | what.class_and_kind(0), what.print, 1];
            let is_cell = class == u64::from(SharedCell::<u64>::CLASS);
            travel::decode(files(), || match is_cell {
                true => travel::unpack_object::<SharedCell<u64>>(forged, what).map(drop),
                false => travel::unpack_object::<Locked>(forged, what).map(drop),
            })
            .0
        };
        let (cell, lock) = (u64::from(SharedCell::<u64>::CLASS), u64::from(Locked::CLASS));
        assert_eq!(arrive(cell, what(3, 77), 64), Ok(()));
        assert_eq!(arrive(lock, what(3, 77), 64), Err(TravelError::OtherObject), "another class");
        assert_eq!(arrive(cell, what(4, 77), 64), Err(TravelError::OtherObject), "another kind");
        assert_eq!(arrive(cell, what(3, 78), 64), Err(TravelError::OtherObject), "another type");
        assert_eq!(arrive(cell, what(3, 77), 128), Err(TravelError::OtherObject), "another length");
        let [was_cell, was_lock] = CLASSES_BEFORE;
        let chosen = what(3, 77 ^ was_cell ^ was_lock);
        assert_eq!(arrive(lock, chosen, 64), Err(TravelError::OtherObject), "by a chosen hash");
    }
}
