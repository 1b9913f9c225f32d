//! Bytes in blocks with checksums.
//!
//! A file begins with [`MAGIC`], the version of the format, and a checksum of both. Then come blocks: the length of the body,
//! a checksum, and the body. The checksum covers the number of the block, its length and its body, so no block can be left out,
//! repeated or moved. An empty block is the last one, and nothing follows it. Lengths and checksums are u32 in little-endian
//! order.
//!
//! The checksum is CRC-32, which finds every change of up to 32 bits in a row, and any other one but for one in 2^32. It finds
//! accidents, not attackers.

use std::io::{self, ErrorKind, Read, Write};

use crc32fast::Hasher;

use crate::count::count_of;
use crate::state::snapshot_fault::{SnapshotFault, VERSION};

/// How a snapshot begins.
const MAGIC: [u8; 8] = *b"mp-snap\n";
const VERSION_BYTES: usize = 4;
const HEAD_BYTES: usize = MAGIC.len() + VERSION_BYTES + 4;
/// The most bytes of a block's body.
pub(super) const BLOCK_BYTES_MAX: usize = 256 << 10;
const BLOCK_HEAD_BYTES: usize = 8;

fn checksum(number: u64, body: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&count_of(body.len()).to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// Writes blocks.
pub(super) struct Writer<W> {
    out: W,
    /// The head and the body of the present block.
    block: Vec<u8>,
    /// The number of the present block.
    number: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the head.
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        let mut head = MAGIC.to_vec();
        head.extend(VERSION.to_le_bytes());
        head.extend(crc32fast::hash(&head).to_le_bytes());
        out.write_all(&head)?;
        let mut block = Vec::with_capacity(BLOCK_HEAD_BYTES.saturating_add(BLOCK_BYTES_MAX));
        block.resize(BLOCK_HEAD_BYTES, 0);
        Ok(Self { out, block, number: 0 })
    }

    pub(super) fn bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.block.capacity().saturating_sub(self.block.len());
            let (some, rest) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(some);
            bytes = rest;
            if self.block.len() >= BLOCK_HEAD_BYTES.saturating_add(BLOCK_BYTES_MAX) {
                self.end_block()?;
            }
        }
        Ok(())
    }

    pub(super) fn u8(&mut self, number: u8) -> io::Result<()> {
        self.bytes(&[number])
    }

    pub(super) fn u16(&mut self, number: u16) -> io::Result<()> {
        self.bytes(&number.to_le_bytes())
    }

    pub(super) fn u32(&mut self, number: u32) -> io::Result<()> {
        self.bytes(&number.to_le_bytes())
    }

    pub(super) fn u64(&mut self, number: u64) -> io::Result<()> {
        self.bytes(&number.to_le_bytes())
    }

    fn end_block(&mut self) -> io::Result<()> {
        let (head, body) = self.block.split_at_mut(BLOCK_HEAD_BYTES);
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let (of_len, of_sum) = head.split_at_mut(4);
        of_len.copy_from_slice(&len.to_le_bytes());
        of_sum.copy_from_slice(&checksum(self.number, body).to_le_bytes());
        self.out.write_all(&self.block)?;
        self.block.truncate(BLOCK_HEAD_BYTES);
        self.number = self.number.saturating_add(1);
        Ok(())
    }

    /// Writes what is left, and the last block.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.block.len() > BLOCK_HEAD_BYTES {
            self.end_block()?;
        }
        self.end_block()?;
        self.out.flush()
    }
}

/// Reads blocks, and checks each before anything of it is used.
pub(super) struct Reader<R> {
    input: R,
    body: Vec<u8>,
    /// How much of the body was taken.
    taken: usize,
    /// The number of the next block.
    number: u64,
    /// How many bytes of the file were read.
    at: u64,
    is_over: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the head.
    pub(super) fn new(input: R) -> Result<Self, SnapshotFault> {
        let mut reader = Self { input, body: Vec::new(), taken: 0, number: 0, at: 0, is_over: false };
        let mut head = [0; HEAD_BYTES];
        let filled = reader.fill(&mut head);
        if !matches!(filled, Ok(()) | Err(SnapshotFault::Incomplete { .. })) || head.starts_with(&MAGIC) {
            filled?;
        } else {
            return Err(SnapshotFault::NotASnapshot);
        }
        let (checked, sum) = head.split_at(MAGIC.len().saturating_add(VERSION_BYTES));
        let version = checked.get(MAGIC.len()..).unwrap_or_default();
        if crc32fast::hash(checked) != number_in(sum) {
            return Err(SnapshotFault::Damaged { at: 0, bytes: count_of(HEAD_BYTES) });
        }
        let found = number_in(version);
        if found != VERSION {
            return Err(SnapshotFault::Version { found });
        }
        Ok(reader)
    }

    fn fill(&mut self, mut place: &mut [u8]) -> Result<(), SnapshotFault> {
        while !place.is_empty() {
            match self.input.read(place) {
                Ok(0) => return Err(SnapshotFault::Incomplete { at: self.at }),
                Ok(count) => {
                    self.at = self.at.saturating_add(count_of(count));
                    place = place.get_mut(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(SnapshotFault::System(error.into())),
            }
        }
        Ok(())
    }

    fn next_block(&mut self) -> Result<(), SnapshotFault> {
        if self.is_over {
            return Err(self.invalid());
        }
        let at = self.at;
        let mut head = [0; BLOCK_HEAD_BYTES];
        self.fill(&mut head)?;
        let (len, sum) = head.split_at(4);
        let (len, sum) = (usize::try_from(number_in(len)).unwrap_or(usize::MAX), number_in(sum));
        if len > BLOCK_BYTES_MAX {
            return Err(SnapshotFault::Damaged { at, bytes: count_of(BLOCK_HEAD_BYTES) });
        }
        let mut body = std::mem::take(&mut self.body);
        body.resize(len, 0);
        self.fill(&mut body)?;
        self.body = body;
        self.taken = 0;
        if checksum(self.number, &self.body) != sum {
            return Err(SnapshotFault::Damaged { at, bytes: self.at.saturating_sub(at) });
        }
        self.number = self.number.saturating_add(1);
        self.is_over = len == 0;
        Ok(())
    }

    /// Returns the error of what no manager saves.
    pub(super) const fn invalid(&self) -> SnapshotFault {
        SnapshotFault::Invalid { at: self.at }
    }

    /// Takes the next bytes.
    pub(super) fn take(&mut self, mut place: &mut [u8]) -> Result<(), SnapshotFault> {
        while !place.is_empty() {
            let left = self.body.get(self.taken..).unwrap_or_default();
            if left.is_empty() {
                self.next_block()?;
                continue;
            }
            let count = left.len().min(place.len());
            let (into, rest) = place.split_at_mut(count);
            into.copy_from_slice(left.get(..count).unwrap_or_default());
            place = rest;
            self.taken = self.taken.saturating_add(count);
        }
        Ok(())
    }

    /// Replaces the contents of a buffer by the next bytes. A length that the file does not have takes no memory.
    pub(super) fn take_into(&mut self, buffer: &mut Vec<u8>, len: usize) -> Result<(), SnapshotFault> {
        buffer.clear();
        while buffer.len() < len {
            let from = buffer.len();
            buffer.resize(len.min(from.saturating_add(BLOCK_BYTES_MAX)), 0);
            self.take(buffer.get_mut(from..).unwrap_or_default())?;
        }
        Ok(())
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], SnapshotFault> {
        let mut bytes = [0; LEN];
        self.take(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, SnapshotFault> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, SnapshotFault> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, SnapshotFault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, SnapshotFault> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Checks that nothing is left.
    pub(super) fn finish(mut self) -> Result<(), SnapshotFault> {
        if self.taken < self.body.len() {
            return Err(self.invalid());
        }
        self.next_block()?;
        if !self.is_over || self.fill(&mut [0]).is_ok() {
            return Err(self.invalid());
        }
        Ok(())
    }
}

/// Returns the number in four bytes.
fn number_in(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
