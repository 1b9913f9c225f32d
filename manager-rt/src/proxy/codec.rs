//! How values are encoded for a manager and decoded when they come back.
//!
//! While a thread encodes or decodes a value, it has a [`Mode`], and a [`Work`] if needed. Proxies inside the value look there to learn that they
//! travel within a manager, where an id is enough. Everywhere else they travel with an address: see
//! [`travel`](super::travel). When a work ends, even by a panic, the outer one is restored, so a value that uses other
//! proxies while it is encoded disturbs nothing.
//!
//! Each thread reuses its buffers, so small values allocate no memory.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use mp_sys::travel;
use mp_sys::wire;
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::{Backend, CallError};
use crate::count::count_of;
use crate::error::ObjectError;
use crate::limits::VALUE_BYTES_MAX;
use crate::proto::{Fault, ObjectId, Payload, Raw};

/// A larger buffer is not kept for later values. The buffer of the frames that they are copied to has the same limit.
const KEPT_BYTES_MAX: usize = 256 << 10;
/// Like [`KEPT_BYTES_MAX`], for the ends of values.
const KEPT_VALUES_MAX: usize = 1024;

/// What the thread is encoding or decoding, with everything that a proxy inside needs.
#[derive(Debug, Default)]
pub(super) enum Work {
    /// Nothing that belongs to a manager.
    #[default]
    None,
    /// A value that goes into the manager with this epoch.
    Encoding {
        epoch: u128,
        /// Ids of the proxies found so far.
        ids: Vec<u8>,
        /// A proxy of another manager was found.
        refused: bool,
    },
    /// A value that came out of a manager, without proxies.
    Plain,
    /// A value that came out of a manager.
    Decoding {
        backend: Arc<dyn Backend>,
        /// Ids of the proxies not decoded yet.
        ids: Vec<ObjectId>,
        /// `true` if the manager counted a reference for each proxy, `false` if this process already has one.
        were_counted: bool,
        /// A proxy of another type was expected.
        wrong_type: bool,
    },
}

/// What the thread is encoding or decoding, as far as most values need it. It changes twice for each value, so it has to
/// be cheap: a [`Work`] is made only if there is a proxy inside.
#[derive(Debug, Clone, Copy)]
enum Mode {
    None,
    /// A value that goes into the manager with this epoch.
    Encoding(u128),
    Plain,
    Decoding,
}

thread_local! {
    static MODE: Cell<Mode> = const { Cell::new(Mode::None) };
    /// Whether there is a work.
    static HAS_WORK: Cell<bool> = const { Cell::new(false) };
    static WORK: RefCell<Work> = const { RefCell::new(Work::None) };
    static SPARE: Cell<Parts> = const { Cell::new(Parts::EMPTY) };
}

/// Lends the work of this thread to `look`, which may change it.
pub(super) fn with_work<R>(look: impl FnOnce(&mut Work) -> R) -> R {
    match MODE.get() {
        Mode::None => look(&mut Work::None),
        Mode::Plain => look(&mut Work::Plain),
        Mode::Decoding => WORK.with_borrow_mut(look),
        Mode::Encoding(epoch) => WORK.with_borrow_mut(|work| {
            if !HAS_WORK.replace(true) {
                *work = Work::Encoding { epoch, ids: Vec::new(), refused: false };
            }
            look(work)
        }),
    }
}

/// Restores the outer mode and work.
struct Restore {
    mode: Mode,
    work: Option<Work>,
    is_over: bool,
}

impl Restore {
    #[inline]
    fn enter(mode: Mode) -> Self {
        let work = HAS_WORK.replace(false).then(|| WORK.take());
        Self { mode: MODE.replace(mode), work, is_over: false }
    }

    /// Does the same, with a work from the beginning.
    fn enter_with(work: Work) -> Self {
        let restore = Self::enter(Mode::Decoding);
        WORK.set(work);
        HAS_WORK.set(true);
        restore
    }

    /// Returns the work that ends, if there is one.
    #[inline]
    fn leave(mut self) -> Option<Work> {
        self.restore()
    }

    #[inline]
    fn restore(&mut self) -> Option<Work> {
        self.is_over = true;
        MODE.set(self.mode);
        let work = HAS_WORK.replace(self.work.is_some()).then(|| WORK.take());
        if let Some(outer) = self.work.take() {
            WORK.set(outer);
        }
        work
    }
}

impl Drop for Restore {
    #[inline]
    fn drop(&mut self) {
        if !self.is_over {
            drop(self.restore());
        }
    }
}

#[derive(Debug, Default)]
struct Parts {
    bytes: Vec<u8>,
    ids: Vec<u8>,
    /// Where each value ends, in `bytes` and in `ids`.
    ends: Vec<(usize, usize)>,
}

impl Parts {
    const EMPTY: Self = Self { bytes: Vec::new(), ids: Vec::new(), ends: Vec::new() };
}

/// The writer that postcard encodes to. Most values are encoded byte by byte, so a byte must cost little.
struct Appending<'a>(&'a mut Vec<u8>);

impl Flavor for Appending<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Encoded values, one after another.
#[derive(Debug)]
pub(crate) struct Values {
    epoch: u128,
    /// The longest value, in bytes.
    limit: usize,
    parts: Parts,
}

impl Values {
    /// Starts with no values, for the manager of this backend.
    pub(crate) fn of(backend: &dyn Backend) -> Self {
        let mut parts = SPARE.take();
        parts.bytes.clear();
        parts.ids.clear();
        parts.ends.clear();
        let limit = backend.caps().value_bytes_max.min(VALUE_BYTES_MAX);
        Self { epoch: backend.epoch(), limit, parts }
    }

    /// Forgets all values.
    pub(crate) fn clear(&mut self) {
        self.parts.bytes.clear();
        self.parts.ids.clear();
        self.parts.ends.clear();
    }

    /// Encodes one more value, and returns its number.
    ///
    /// # Errors
    /// [`ObjectError::Encode`], [`ObjectError::OtherManager`]; [`Fault::TooLarge`].
    pub(crate) fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<usize, ObjectError> {
        let restore = Restore::enter(Mode::Encoding(self.epoch));
        let start = self.parts.bytes.len();
        let mut bytes = std::mem::take(&mut self.parts.bytes);
        let encoded = postcard::serialize_with_flavor(value, Appending(&mut bytes));
        if encoded.is_err() {
            bytes.truncate(start);
        }
        self.parts.bytes = bytes;
        if let Some(Work::Encoding { mut ids, refused, .. }) = restore.leave() {
            self.parts.ids.append(&mut ids);
            if refused {
                return Err(ObjectError::OtherManager);
            }
        }
        encoded.map_err(|error| unencodable(self.epoch, value, &error))?;
        wire::check(value, self.parts.bytes.get(start..).unwrap_or_default(), None)
            .map_err(ObjectError::Encode)?;
        if self.parts.bytes.len().saturating_sub(start) > self.limit {
            let limit = count_of(self.limit);
            return Err(CallError::Fault(Fault::TooLarge { limit }).into());
        }
        self.parts.ends.push((self.parts.bytes.len(), self.parts.ids.len()));
        Ok(self.parts.ends.len().saturating_sub(1))
    }

    /// Returns the value with this number, or an empty one if there is none.
    pub(crate) fn raw(&self, number: usize) -> Raw<'_> {
        let before = number.checked_sub(1).and_then(|before| self.parts.ends.get(before));
        let (start, ids_start) = before.copied().unwrap_or_default();
        let Some(&(end, ids_end)) = self.parts.ends.get(number) else { return Raw::default() };
        Raw {
            bytes: self.parts.bytes.get(start..end).unwrap_or_default(),
            ids: self.parts.ids.get(ids_start..ids_end).unwrap_or_default(),
        }
    }

    /// Returns all values.
    pub(crate) fn raws(&self) -> impl Iterator<Item = Raw<'_>> {
        (0..self.parts.ends.len()).map(|number| self.raw(number))
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        if parts.bytes.capacity().max(parts.ids.capacity()) <= KEPT_BYTES_MAX
            && parts.ends.capacity() <= KEPT_VALUES_MAX
        {
            // The thread may be ending, with its buffers already gone.
            drop(SPARE.try_with(|spare| spare.replace(parts)));
        }
    }
}

/// Says why a value cannot be encoded. If the cause is a handle of a shared object or a descriptor, the error says how
/// these travel.
#[cold]
fn unencodable<T: Serialize + ?Sized>(epoch: u128, value: &T, error: &postcard::Error) -> ObjectError {
    let _restore = Restore::enter(Mode::Encoding(epoch));
    let (_, refused) = travel::alone(|| postcard::to_allocvec(value).is_ok());
    ObjectError::Encode(
        refused.map_or_else(|| wire::unencodable(value, error), |refused| refused.to_string()),
    )
}

/// Decodes a value that a manager returned, and takes over the references that the manager counted for the proxies
/// inside. References of proxies that were not decoded are released.
///
/// # Errors
/// [`ObjectError::Decode`].
pub(super) fn take<T: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    payload: &Payload,
) -> Result<T, ObjectError> {
    decode(backend, payload.raw(), true)
}

/// Decodes a value whose proxies this process already keeps alive.
///
/// # Errors
/// [`ObjectError::Decode`].
pub(super) fn look<T: DeserializeOwned>(backend: &Arc<dyn Backend>, raw: Raw<'_>) -> Result<T, ObjectError> {
    decode(backend, raw, false)
}

fn decode<T: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    raw: Raw<'_>,
    were_counted: bool,
) -> Result<T, ObjectError> {
    let restore = if raw.ids.is_empty() {
        Restore::enter(Mode::Plain)
    } else {
        let (backend, ids) = (Arc::clone(backend), raw.objects().collect());
        Restore::enter_with(Work::Decoding { backend, ids, were_counted, wrong_type: false })
    };
    let (decoded, refused) = travel::alone(|| postcard::take_from_bytes(raw.bytes));
    let work = restore.leave();
    let is_wrong_type = matches!(work, Some(Work::Decoding { wrong_type: true, .. }));
    if let Some(Work::Decoding { ids, were_counted: true, .. }) = work {
        ids.into_iter().for_each(|id| release(backend, id));
    }
    let reason = match decoded {
        Ok((value, [])) => return Ok(value),
        _ if is_wrong_type => "a proxy inside is of another type".to_owned(),
        Ok((_, rest)) => format!("{} bytes are left over", rest.len()),
        Err(error) => {
            refused.map_or_else(|| wire::undecodable::<T>(raw.bytes, &error), |refused| refused.to_string())
        }
    };
    Err(ObjectError::Decode { reason, bytes: raw.bytes.to_vec() })
}

/// Releases the references that a manager counted for the proxies in a value that is not decoded.
pub(super) fn discard(backend: &Arc<dyn Backend>, payload: &Payload) {
    payload.raw().objects().for_each(|id| release(backend, id));
}

fn release(backend: &Arc<dyn Backend>, id: ObjectId) {
    backend.adopt(id);
    backend.detach(id);
}
