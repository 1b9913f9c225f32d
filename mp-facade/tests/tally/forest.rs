//! A tree with everything that a count could get wrong.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use tempfile::TempDir;

/// The bytes of a range. At its borders, a word could count twice or not at all.
pub(crate) const RANGE_BYTES: usize = 4 << 20;
/// Not a multiple of anything.
const LARGE_BYTES: usize = 50_000_017;

/// Makes the tree. About 60 MB.
pub(crate) fn plant() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    let write = |path: &str, text: &[u8]| {
        fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        fs::write(at(path), text).unwrap();
    };
    write("large.txt", &large_text());
    write("a range", &[b'r'; RANGE_BYTES]);
    write("a range and one", &[b'r'; RANGE_BYTES + 1]);
    write("empty", b"");
    write("one", b"x");
    write("without-newline", b"two words");
    write(".hidden", b"hidden files count\n");
    write("nested/in/folders/deep.txt", b"deep\n");
    fs::create_dir_all(at("nested/empty")).unwrap();

    // Folders of these names are left out, with all that is in them; files of these names are not.
    write(".git/config", b"not counted\n");
    write("nested/.git/objects/pack", b"not counted\n");
    write("nested/target/debug/build.txt", b"not counted\n");
    write("nested/targets/counted.txt", b"counted\n");
    write("files/.git", b"gitdir: counted\n");
    write("files/target", b"counted\n");

    symlink(at("large.txt"), at("link-to-file")).unwrap();
    symlink(at("nested"), at("link-to-folder")).unwrap();
    symlink(at("nested"), at("nested/loop")).unwrap();
    symlink("nowhere", at("link-to-nowhere")).unwrap();

    fs::write(root.path().join(OsStr::from_bytes(b"caf\xe9\n\xff")), b"latin one\n").unwrap();
    // Neither a file nor a folder. The file stays after the listener is dropped.
    drop(UnixListener::bind(at("socket")).unwrap());
    root
}

/// Returns meaningless text, with words of all kinds around the ends of the ranges.
fn large_text() -> Vec<u8> {
    let some = some_text(100_003);
    let mut text: Vec<u8> = some.iter().copied().cycle().take(LARGE_BYTES).collect();
    let end_of = |range: usize| range * RANGE_BYTES;
    let mut put = |at: usize, bytes: &[u8]| text[at..at + bytes.len()].copy_from_slice(bytes);
    put(end_of(1) - 5, b" halfhalf ");
    put(end_of(2) - 5, b" ends ");
    put(end_of(3) - 2, b". starts ");
    put(end_of(4) - 4000, &[b'W'; 8000]);
    put(end_of(5) - 1, b"\nline");
    put(end_of(6) - 1, "\u{e9}\u{e9}".as_bytes());
    // One word that fills a whole range and more.
    put(end_of(7) - 3, &vec![b'q'; RANGE_BYTES + 6]);
    put(end_of(9) - 1, b"a1");
    put(end_of(10) - 1, b"1a");
    put(end_of(11) - 1, b"Zz");
    text
}

/// Returns pseudo-random text: about every sixth byte is not part of a word, and any byte value may occur.
fn some_text(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = |below: u64| {
        // Knuth's MMIX generator; the high bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from((state >> 33) % below).unwrap()
    };
    let byte = |_| match next(24) {
        0 | 1 => b' ',
        2 => b'\n',
        3 => next(255),
        4..8 => b'A' + next(26),
        _ => b'a' + next(26),
    };
    (0..bytes).map(byte).collect()
}

/// Makes a small file, and returns its folder.
pub(crate) fn plant_one(text: &[u8]) -> TempDir {
    plant_files(1, text)
}

/// Makes a few files with the same text.
pub(crate) fn plant_files(count: usize, text: &[u8]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in 0..count {
        fs::write(root.path().join(file.to_string()), text).unwrap();
    }
    root
}

/// A copy of a program that every user may run.
pub(crate) fn publish(program: &Path, folder: &Path) -> std::path::PathBuf {
    let copy = folder.join("program");
    fs::copy(program, &copy).unwrap();
    copy
}
