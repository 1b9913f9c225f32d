//! A separate arena for the test.

use super::*;

fn take(arena: &mut Arena, class: usize) -> Span {
    arena.take(class).unwrap().1
}

#[test]
fn classes() {
    assert_eq!(class_of(0), Some(0));
    assert_eq!(class_of(64), Some(0));
    assert_eq!(class_of(65), Some(1));
    assert_eq!(class_of(SMALL_BYTES_MAX), Some(CLASSES - 1));
    assert_eq!(class_of(SMALL_BYTES_MAX + 1), None);
    assert_eq!(class_bytes(CLASSES - 1), SMALL_BYTES_MAX);
    assert_eq!([5, 6].map(kind_of), [0, 1]);
}

#[test]
fn a_span_is_reused_and_an_empty_chunk_is_unmapped() {
    let mut arena = Arena::default();
    // The chunk's own bookkeeping takes a part of it.
    let per_chunk = CHUNK_BYTES / SMALL_BYTES_MAX - 1;
    let first: Vec<Span> = (0..per_chunk).map(|_| take(&mut arena, CLASSES - 1)).collect();
    let second = take(&mut arena, CLASSES - 1);
    let key = first[0].mapping_key();
    assert_ne!(key, second.mapping_key(), "the first chunk is full");
    let mut gone = Unused::new();
    for span in first {
        assert!(gone.is_empty(), "no chunk goes while a span is in use");
        gone = arena.put(span);
    }
    assert_eq!(gone.len(), 1);
    assert!(gone[0].1.held() >= per_chunk);
    let key = second.mapping_key();
    assert!(arena.put(second).is_empty(), "the newest chunk stays");
    let (reused, again) = arena.take(CLASSES - 1).unwrap();
    assert!(reused);
    assert_eq!(again.mapping_key(), key);
}

/// Returns the free spans of all mappings, with memory and without.
fn count(arena: &Arena) -> (usize, usize) {
    let idle: usize = arena.free.values().map(FreeSpans::idle).sum();
    (arena.free.values().map(FreeSpans::held).sum(), idle)
}

#[test]
fn pages_without_objects_are_freed_and_used_again() {
    let mut arena = Arena::default();
    // One of each 640 spans of 64 bytes (10 pages) stays.
    let mut all: Vec<Span> = (0..12_800).map(|_| take(&mut arena, 0)).collect();
    let kept: Vec<Span> = (0..20).map(|n| all.swap_remove(n * 600)).collect();
    for span in all {
        assert!(arena.put(span).is_empty());
    }
    assert_eq!(arena.idle, count(&arena).1);
    arena.sweep(&mut Unused::new());
    let (_, idle) = count(&arena);
    assert!(idle <= 20 * 4096 + STEP_BYTES_MAX, "{idle} bytes next to 20 spans");
    assert_eq!(arena.idle, idle);
    // Other sizes find room in the same chunk.
    let others: Vec<Span> = (0..200).map(|_| take(&mut arena, 5)).collect();
    assert!(others.iter().all(|span| span.mapping_key() == kept[0].mapping_key()));
    let mut places: Vec<(usize, usize)> =
        others.iter().chain(&kept).map(|span| (span.offset(), span.end())).collect();
    places.sort_unstable();
    assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "nothing overlaps");
}

#[test]
fn each_kind_has_its_own_chunks() {
    let mut arena = Arena::default();
    let small = take(&mut arena, 0);
    let large = take(&mut arena, 6);
    assert_ne!(small.mapping_key(), large.mapping_key());
    assert!(large.offset().is_multiple_of(4096));
}
