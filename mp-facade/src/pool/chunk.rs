//! Chunks: what travels from a pool to its workers, as bytes in queues.
//!
//! | a chunk, to a worker | bytes | |
//! |---|---|---|
//! | job | 8 | the job that the items belong to |
//! | first | 8 | the index of the first item |
//! | count | 4 | the number of items; a chunk without items lets the worker end. The highest bit: report it at its end |
//! | arguments | | for each item, 4 bytes of length and the encoded argument; nothing if the worker has the items |

/// The bytes before the arguments of a chunk.
const CHUNK_HEAD_BYTES: usize = 20;
/// The number of a job whose results are needed together, and no sooner: a worker may keep one while it goes on.
pub(super) const TOGETHER: u64 = u64::MAX;
/// The most items of a chunk, so that their number and their lengths fit.
pub(super) const CHUNK_ITEMS_MAX: usize = 1 << 16;

/// The bit of a chunk's count that lets the worker report it at its end.
const URGENT: u32 = 1 << 31;

/// Consecutive items of a job that one worker works on.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) job: u64,
    pub(super) first: u64,
    pub(super) count: u32,
    /// Whether the worker reports it as soon as it is done.
    pub(super) is_urgent: bool,
    /// The arguments in wire form.
    arguments: Vec<u8>,
    /// Where each argument ends. Empty if the worker has the items.
    ends: Vec<u32>,
    /// The index of the item of the first argument, which is before `first` if some were skipped.
    base: u64,
}

impl Chunk {
    /// The indices of its items.
    pub(super) fn indices(&self) -> impl Iterator<Item = u64> + use<> {
        self.first..self.first.saturating_add(u64::from(self.count))
    }

    /// Makes a chunk of items that the workers have.
    pub(super) fn of_indices(job: u64, first: u64, count: u32) -> Self {
        Self { job, first, count, base: first, ..Self::default() }
    }

    /// Makes a chunk without items yet.
    pub(super) fn empty(job: u64, first: u64) -> Self {
        Self::of_indices(job, first, 0)
    }

    /// Appends an item, whose argument `encode` appends to the bytes that it is passed.
    ///
    /// # Errors
    /// The error of `encode`. The chunk is unchanged then.
    pub(super) fn push<E>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let before = self.arguments.len();
        self.arguments.extend_from_slice(&[0; 4]);
        if let Err(error) = encode(&mut self.arguments) {
            self.arguments.truncate(before);
            return Err(error);
        }
        put_len(&mut self.arguments, before);
        self.ends.push(u32::try_from(self.arguments.len()).unwrap_or(u32::MAX));
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// Removes the first item.
    pub(super) fn skip_first(&mut self) {
        self.first = self.first.saturating_add(1);
        self.count = self.count.saturating_sub(1);
    }

    /// The bytes of the arguments.
    pub(super) fn bytes(&self) -> usize {
        self.arguments.len()
    }

    /// The index after the last item.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.count.into())
    }

    /// Whether this item of this job is in the chunk.
    pub(super) fn contains(&self, (job, index): (u64, u64)) -> bool {
        self.job == job && (self.first..self.end()).contains(&index)
    }

    /// Returns the items from `from` up to `to`, as a chunk.
    pub(super) fn part(&self, from: u64, to: u64) -> Option<Self> {
        let (from, to) = (from.max(self.first), to.min(self.end()));
        let count = u32::try_from(to.checked_sub(from)?).ok().filter(|count| *count > 0)?;
        let mut part = Self { is_urgent: self.is_urgent, ..Self::of_indices(self.job, from, count) };
        if self.ends.is_empty() {
            return Some(part);
        }
        let at = |index: u64| match usize::try_from(index.saturating_sub(self.base)).unwrap_or(usize::MAX) {
            0 => Some(0),
            items => self.ends.get(items.saturating_sub(1)).copied(),
        };
        let (start, end) = (at(from)?, at(to)?);
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        part.arguments = self.arguments.get(place(start)..place(end))?.to_vec();
        let skip = usize::try_from(from.saturating_sub(self.base)).ok()?;
        let ends = self.ends.iter().skip(skip).take(usize::try_from(count).ok()?);
        part.ends = ends.map(|end| end.saturating_sub(start)).collect();
        Some(part)
    }

    /// Encodes the chunk for a worker.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CHUNK_HEAD_BYTES.saturating_add(self.arguments.len()));
        bytes.extend_from_slice(&self.job.to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        let count = if self.is_urgent { self.count | URGENT } else { self.count };
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&self.arguments);
        bytes
    }
}

/// A chunk as a worker reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order<'a> {
    pub(super) job: u64,
    pub(super) first: u64,
    pub(super) count: u32,
    /// Whether to report it at its end.
    pub(super) is_urgent: bool,
    /// The arguments, each with its length.
    pub(super) arguments: &'a [u8],
}

impl<'a> Order<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let (job, rest) = bytes.split_first_chunk()?;
        let (first, rest) = rest.split_first_chunk()?;
        let (count, arguments) = rest.split_first_chunk()?;
        let count = u32::from_le_bytes(*count);
        Some(Self {
            job: u64::from_le_bytes(*job),
            first: u64::from_le_bytes(*first),
            count: count & !URGENT,
            is_urgent: count & URGENT != 0,
            arguments,
        })
    }
}

/// Removes and returns the first part of `bytes`, which begins with its length.
pub(super) fn next_part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let (part, rest) = rest.split_at_checked(len)?;
    *bytes = rest;
    Some(part)
}

/// Writes the length of the part that begins at `at` and ends with the bytes.
pub(super) fn put_len(bytes: &mut [u8], at: usize) {
    let len = bytes.len().saturating_sub(at.saturating_add(4));
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = len.to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::encoding;

    fn chunk_of(texts: &[&str]) -> Chunk {
        let mut chunk = Chunk::empty(7, 100);
        for text in texts {
            chunk.push(|bytes| encoding::append(*text, bytes)).unwrap();
        }
        chunk
    }

    fn texts_of(chunk: &Chunk) -> Vec<String> {
        let bytes = chunk.to_bytes();
        let order = Order::of(&bytes).unwrap();
        assert_eq!((order.job, order.first, order.count), (chunk.job, chunk.first, chunk.count));
        let mut rest = order.arguments;
        let parts = std::iter::from_fn(|| next_part(&mut rest));
        parts.map(|part| postcard::from_bytes(part).unwrap()).collect()
    }

    #[test]
    fn every_part_of_a_chunk_has_its_items() {
        let texts = ["", "one", "two", "", "five"];
        let whole = chunk_of(&texts);
        for from in 0..=texts.len() {
            for to in 0..=texts.len() {
                let part = whole.part(100 + from as u64, 100 + to as u64);
                match part {
                    Some(part) => {
                        assert_eq!(texts_of(&part), texts[from..to], "{from}..{to}");
                        assert_eq!(part.first, 100 + from as u64);
                        // A part of a part, too.
                        let rest = part.part(part.first + 1, part.end());
                        assert_eq!(rest.map_or(0, |rest| texts_of(&rest).len()), to - from - 1);
                    }
                    None => assert!(from >= to, "{from}..{to}"),
                }
            }
        }
        assert_eq!(whole.part(0, u64::MAX), Some(whole.clone()));
    }

    #[test]
    fn what_is_left_of_a_chunk_has_its_own_items() {
        let mut chunk = chunk_of(&["a", "b", "c", "d"]);
        chunk.skip_first();
        chunk.skip_first();
        assert_eq!(texts_of(&chunk.part(chunk.first, chunk.end()).unwrap()), ["c", "d"]);
        assert_eq!(texts_of(&chunk.part(103, 104).unwrap()), ["d"]);
    }

    #[test]
    fn an_argument_that_cannot_be_encoded_leaves_the_chunk_unchanged() {
        let mut chunk = chunk_of(&["a"]);
        let before = chunk.clone();
        let failed = chunk.push(|bytes| {
            bytes.extend_from_slice(b"half");
            Err("no")
        });
        assert_eq!((failed, chunk), (Err("no"), before));
    }

    #[test]
    fn parts_of_an_urgent_chunk_are_urgent() {
        let chunk =
            Chunk { is_urgent: true, ..Chunk::of_indices(7, 5, u32::try_from(CHUNK_ITEMS_MAX).unwrap()) };
        let part = chunk.part(6, 9).unwrap().to_bytes();
        let order = Order::of(&part).unwrap();
        assert_eq!((order.first, order.count, order.is_urgent), (6, 3, true));
        let whole = chunk.to_bytes();
        assert_eq!(Order::of(&whole).unwrap().count, chunk.count);
        assert!(!Order::of(&Chunk::of_indices(7, 5, 1).to_bytes()).unwrap().is_urgent);
    }

    #[test]
    fn bytes_that_are_too_few_are_no_order() {
        assert_eq!(Order::of(&[0; 19]), None);
    }
}
