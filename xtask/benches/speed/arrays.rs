//! Rows about bulk copies: `RawArray<f64>` against `memcpy`.
//!
//! Both copy between the same private buffer and their own shared memfd mapping, whole and warm. The speed varies by
//! about 30 % with the physical pages that the kernel assigns. So each sample covers several mappings, and the median
//! counts.

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use anyhow::Result;
use shm_core::RawArray;

use crate::placement::Placement;
use crate::reference::RawMapping;
use crate::row::{Contestant, Pick, Row, Setup, Target, Unit};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// The shared mappings of one sample, one after the other.
const SIDES: u64 = 5;
/// Bytes copied to or from each of them.
const BYTES_PER_SIDE: usize = 128 * MIB;

/// One size of array.
struct Size {
    read: &'static str,
    write: &'static str,
    bytes: usize,
}

const SIZES: [Size; 3] = [
    Size { read: "raw_array_read_64k", write: "raw_array_write_64k", bytes: 64 * KIB },
    Size { read: "raw_array_read_1m", write: "raw_array_write_1m", bytes: MIB },
    Size { read: "raw_array_read_64m", write: "raw_array_write_64m", bytes: 64 * MIB },
];

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, enter| Row {
        name,
        placement: Placement::OneCore,
        unit: Unit::GigabytesPerSecond,
        pick: Pick::Median,
        target: Target::at_least_times(0.9, "memcpy"),
        needs: None,
        enter,
    };
    let both = |size: &Size| {
        let bytes = size.bytes;
        [
            row(size.read, Box::new(move |setup: &Setup| reading(setup, bytes))),
            row(size.write, Box::new(move |setup: &Setup| writing(setup, bytes))),
        ]
    };
    SIZES.iter().flat_map(both).collect()
}

fn reading(setup: &Setup, bytes: usize) -> Result<Vec<Contestant>> {
    let buffer = private(bytes);
    let ours = bandwidth("ours", setup, &buffer, array, |array, buffer| Ok(array.read_into(0, buffer)?));
    let memcpy =
        bandwidth("memcpy", setup, &buffer, RawMapping::new, |mapping, buffer| mapping.read_into(buffer));
    Ok(vec![ours, memcpy])
}

fn writing(setup: &Setup, bytes: usize) -> Result<Vec<Contestant>> {
    let buffer = private(bytes);
    let ours = bandwidth("ours", setup, &buffer, array, |array, buffer| Ok(array.write(0, buffer)?));
    let memcpy =
        bandwidth("memcpy", setup, &buffer, RawMapping::new, |mapping, buffer| mapping.write(buffer));
    Ok(vec![ours, memcpy])
}

/// The private side of all copies in a row.
type Buffer = Rc<RefCell<Vec<f64>>>;

fn private(bytes: usize) -> Buffer {
    Rc::new(RefCell::new(vec![1.5; bytes / size_of::<f64>()]))
}

fn array(len: usize) -> Result<RawArray<f64>> {
    Ok(RawArray::zeroed(len)?)
}

/// Measures copies between the whole buffer and a shared side in 10^9 bytes per second; each sample makes several
/// shared sides.
fn bandwidth<S: 'static>(
    name: &'static str,
    setup: &Setup,
    buffer: &Buffer,
    make: fn(usize) -> Result<S>,
    copy: fn(&S, &mut [f64]) -> Result<()>,
) -> Contestant {
    let (buffer, scale) = (Rc::clone(buffer), setup.scale);
    let mut kept = Vec::new();
    Contestant::new(name, move || {
        let buffer = &mut *buffer.borrow_mut();
        let bytes = size_of_val(buffer.as_slice());
        let copies = scale.of(u64::try_from(BYTES_PER_SIDE / bytes)?);
        let mut seconds = 0.0;
        for _ in 0..SIDES {
            if kept.len() * bytes >= MIB {
                kept.clear();
            }
            let shared = make(buffer.len())?;
            // This warms up both sides.
            copy(&shared, buffer)?;
            let started = Instant::now();
            for _ in 0..copies {
                copy(black_box(&shared), black_box(buffer))?;
            }
            seconds += started.elapsed().as_secs_f64();
            // A small mapping stays alive, so that it is not simply handed out again.
            kept.push(shared);
        }
        Ok((SIDES * copies) as f64 * bytes as f64 / seconds / 1e9)
    })
}
