//! The image of the main program: its identity, and the place of its code.
//!
//! Two processes run the same image if their ids are equal. The id is the GNU build id, which the linker derives from
//! the contents. Without one, the id is a hash of the program headers and of what identifies the file: device, inode,
//! size and time of change. A file that is being executed cannot be written, so those identify its contents. The
//! inode's time of change is left out, because removing or renaming the file changes it.
//!
//! Offsets are addresses as in the file, before the loader moves the image.

use std::ffi::{c_int, c_void};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::ops::Range;
use std::{ptr, slice};

use rustix::fs::stat;
use rustix::io::Errno;

use super::constructors;
use crate::OsError;

/// The type of the note with the build id, in notes of the owner `GNU`.
const NT_GNU_BUILD_ID: u32 = 3;

/// The identity of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id(Vec<u8>);

impl Id {
    /// The most bytes of an id: GNU's have 20, those of other linkers 8 to 32. A longer one is not used.
    pub(super) const BYTES_MAX: usize = 64;

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        (1..=Self::BYTES_MAX).contains(&bytes.len()).then(|| Self(bytes.to_vec()))
    }
}

/// The main program as loaded into this process.
#[derive(Debug)]
pub(super) struct Image {
    id: Id,
    /// The number that the loader added to the addresses of the file.
    bias: usize,
    /// The executable segments, by offset.
    code: Vec<Range<usize>>,
    has_loader: bool,
    /// The offset of the constructors, and their number.
    constructors: Option<(usize, usize)>,
}

impl Image {
    /// Examines the main program.
    ///
    /// # Errors
    /// `ENOEXEC` if the loader does not describe it; those of stat(2), without a build id.
    pub(super) fn of_main_program() -> Result<Self, OsError> {
        let mut found = Found::default();
        let data = ptr::from_mut(&mut found).cast::<c_void>();
        // SAFETY: `look` interprets the data as what it is, and keeps no pointer to it.
        unsafe { libc::dl_iterate_phdr(Some(look), data) };
        if found.code.is_empty() {
            return Err(Errno::NOEXEC.into());
        }
        let id = match found.build_id.as_deref().and_then(Id::of_bytes) {
            Some(id) => id,
            None => id_of_file(&found)?,
        };
        let has_loader = found.headers.iter().any(|(kind, ..)| *kind == libc::PT_INTERP);
        let constructors = constructors::place_in(&found.dynamic);
        Ok(Self { id, bias: found.bias, code: found.code, has_loader, constructors })
    }

    /// Whether the program is the file that was executed. If it was passed to the loader as an argument (`ld.so
    /// PROGRAM`), the executed file is the loader, which would treat the first argument of a restart as a program.
    pub(super) fn is_what_was_executed(&self) -> bool {
        // SAFETY: this only reads the vector that the kernel passed to the process, for any number.
        let loader = unsafe { libc::getauxval(libc::AT_BASE) };
        // The kernel passes the address of the loader that the executed file requests. The loader itself requests none.
        loader != 0 || !self.has_loader
    }

    pub(super) fn id(&self) -> &Id {
        &self.id
    }

    /// The address of the constructors, and their number; `None` for a program that was linked without a loader.
    pub(super) fn constructors(&self) -> Option<(usize, usize)> {
        self.constructors.map(|(offset, count)| (offset.wrapping_add(self.bias), count))
    }

    /// The offset of an address in the main program's code, or `None` for any other address.
    pub(super) fn offset_of(&self, address: usize) -> Option<u64> {
        let offset = address.wrapping_sub(self.bias);
        self.has_code_at(offset).then(|| u64::try_from(offset).ok())?
    }

    /// The address of an offset, if there is code.
    pub(super) fn address_of(&self, offset: u64) -> Option<usize> {
        let offset = usize::try_from(offset).ok().filter(|offset| self.has_code_at(*offset))?;
        Some(offset.wrapping_add(self.bias))
    }

    fn has_code_at(&self, offset: usize) -> bool {
        self.code.iter().any(|code| code.contains(&offset))
    }
}

/// What the loader reports about the main program.
#[derive(Debug, Default)]
struct Found {
    bias: usize,
    code: Vec<Range<usize>>,
    build_id: Option<Vec<u8>>,
    /// Type, flags, offset and size of all segments.
    headers: Vec<(u32, u32, usize, usize)>,
    /// Tags and values of the dynamic section.
    dynamic: Vec<[usize; 2]>,
}

/// Called for the main program first; ends the iteration there.
unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _size: libc::size_t, data: *mut c_void) -> c_int {
    // SAFETY: the data is what `of_main_program` passed, and nothing else uses it meanwhile.
    let found = unsafe { &mut *data.cast::<Found>() };
    // SAFETY: the loader passes a description that is valid during the call.
    let info = unsafe { &*info };
    found.bias = usize::try_from(info.dlpi_addr).unwrap_or(0);
    if info.dlpi_phdr.is_null() {
        return 1;
    }
    // SAFETY: the loader passes this many headers, which are mapped as long as the program runs.
    let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    for header in headers {
        let (Ok(start), Ok(len)) = (usize::try_from(header.p_vaddr), usize::try_from(header.p_memsz)) else {
            continue;
        };
        found.headers.push((header.p_type, header.p_flags, start, len));
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 {
            found.code.push(start..start.saturating_add(len));
        }
        if header.p_type == libc::PT_DYNAMIC {
            let entries = ptr::with_exposed_provenance::<[usize; 2]>(start.wrapping_add(found.bias));
            // SAFETY: the section that a program header names is part of a loaded segment, aligned, of pairs of words.
            // The loader wrote to it earlier, and nothing does now.
            let entries = unsafe {
                slice::from_raw_parts(entries, len.checked_div(size_of::<[usize; 2]>()).unwrap_or(0))
            };
            found.dynamic = entries.to_vec();
        }
        if header.p_type == libc::PT_NOTE && found.build_id.is_none() {
            let notes = ptr::with_exposed_provenance::<u8>(start.wrapping_add(found.bias));
            // SAFETY: notes that a program header names are part of a loaded, readable segment, which nothing writes
            // to.
            let notes = unsafe { slice::from_raw_parts(notes, len) };
            let align = usize::try_from(header.p_align).unwrap_or(0).max(4);
            found.build_id = build_id(notes, align).map(<[u8]>::to_vec);
        }
    }
    1
}

/// Finds the build id among the notes. Each note is three numbers, its owner's name, and its contents, both padded.
fn build_id(mut notes: &[u8], align: usize) -> Option<&[u8]> {
    loop {
        let [name_len, len, kind] = numbers(notes)?;
        let name = notes.get(12..12_usize.checked_add(name_len)?)?;
        let at = 12_usize.checked_add(name_len)?.checked_next_multiple_of(align)?;
        let end = at.checked_add(len)?;
        let contents = notes.get(at..end)?;
        if name == b"GNU\0" && u32::try_from(kind) == Ok(NT_GNU_BUILD_ID) {
            return Some(contents);
        }
        notes = notes.get(end.checked_next_multiple_of(align)?..)?;
    }
}

fn numbers(notes: &[u8]) -> Option<[usize; 3]> {
    let (numbers, _) = notes.first_chunk::<12>()?.as_chunks::<4>();
    let mut result = [0; 3];
    for (into, number) in result.iter_mut().zip(numbers) {
        *into = usize::try_from(u32::from_ne_bytes(*number)).ok()?;
    }
    Some(result)
}

/// Identifies an image without a build id. Only processes of one program compare the hash, so it needs no fixed format.
fn id_of_file(found: &Found) -> Result<Id, OsError> {
    let file = stat("/proc/self/exe")?;
    let name = (file.st_dev, file.st_ino, file.st_size, file.st_mtime, file.st_mtime_nsec);
    // Without random keys, so that both processes get the same hash.
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((name, &found.headers));
    Ok(Id(hash.to_le_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &[u8], kind: u32, contents: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for number in [name.len(), contents.len()] {
            note.extend_from_slice(&u32::try_from(number).unwrap().to_ne_bytes());
        }
        note.extend_from_slice(&kind.to_ne_bytes());
        for part in [name, contents] {
            note.extend_from_slice(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn the_build_id_is_found_among_other_notes() {
        let others = [note(b"GNU\0", 1, &[1; 16]), note(b"Go\0", NT_GNU_BUILD_ID, &[2; 3])].concat();
        assert_eq!(build_id(&others, 4), None);
        let all = [others, note(b"GNU\0", NT_GNU_BUILD_ID, &[3; 20])].concat();
        assert_eq!(build_id(&all, 4), Some(&[3; 20][..]));
        for len in 0..all.len() {
            assert_eq!(build_id(&all[..len], 4), None, "{len}");
        }
        assert_eq!(build_id(&[0xff; 64], 4), None);
    }

    #[test]
    fn only_code_of_the_program_has_an_offset() {
        let image = Image::of_main_program().unwrap();
        let function = (look as *const ()).addr();
        let offset = image.offset_of(function).unwrap();
        assert_eq!(image.address_of(offset), Some(function));
        let on_the_stack = 0;
        for other in [ptr::from_ref(&on_the_stack).addr(), (libc::getpid as *const ()).addr(), 0, usize::MAX]
        {
            assert_eq!(image.offset_of(other), None, "{other:x}");
        }
        assert_eq!(image.address_of(0), None, "the file's header is not code");
        assert_eq!(image.address_of(u64::MAX), None);
    }

    #[test]
    fn an_image_has_the_same_id_each_time_even_without_a_build_id() {
        let image = Image::of_main_program().unwrap();
        assert_eq!(*image.id(), *Image::of_main_program().unwrap().id());
        let found = |len| Found { headers: vec![(1, 5, 0, len)], ..Found::default() };
        let by_file = id_of_file(&found(1)).unwrap();
        assert_eq!(by_file, id_of_file(&found(1)).unwrap());
        assert_ne!(by_file, id_of_file(&found(2)).unwrap());
        assert_eq!(Id::of_bytes(&[1; Id::BYTES_MAX]).unwrap().as_bytes().len(), Id::BYTES_MAX);
        assert_eq!((Id::of_bytes(&[1; Id::BYTES_MAX + 1]), Id::of_bytes(&[])), (None, None));
    }
}
