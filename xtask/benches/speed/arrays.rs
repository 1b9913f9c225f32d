//! Rows about bulk copies: `RawArray<f64>` against `memcpy`.
//!
//! Both sides copy between the same private buffer and a shared memfd mapping of their own, whole and warm. Where the parts
//! of a page lie in relation to each other is the same too: both mappings start at a page.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use anyhow::Result;
use shm_core::RawArray;

use crate::placement::Placement;
use crate::reference::RawMapping;
use crate::row::{Contestant, Pick, Row, Setup, Target, Unit};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Bytes copied in one sample: some 100 ms.
const BYTES_PER_SAMPLE: usize = 512 * MIB;

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
        needs_python: false,
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

/// The private side of all copies of a row.
type Buffer = Rc<RefCell<Vec<f64>>>;

fn prepare(bytes: usize) -> Result<(Buffer, RawArray<f64>, RawMapping)> {
    let len = bytes / size_of::<f64>();
    let buffer = vec![1.5; len];
    let array = RawArray::zeroed(len)?;
    let mapping = RawMapping::new(len)?;
    array.write_all(&buffer)?;
    mapping.write(&buffer)?;
    Ok((Rc::new(RefCell::new(buffer)), array, mapping))
}

fn reading(setup: &Setup, bytes: usize) -> Result<Vec<Contestant>> {
    let (buffer, array, mapping) = prepare(bytes)?;
    let ours = bandwidth("ours", setup, &buffer, move |buffer| Ok(array.read_into(0, buffer)?));
    let memcpy = bandwidth("memcpy", setup, &buffer, move |buffer| mapping.read_into(buffer));
    Ok(vec![ours, memcpy])
}

fn writing(setup: &Setup, bytes: usize) -> Result<Vec<Contestant>> {
    let (buffer, array, mapping) = prepare(bytes)?;
    let ours = bandwidth("ours", setup, &buffer, move |buffer| Ok(array.write(0, buffer)?));
    let memcpy = bandwidth("memcpy", setup, &buffer, move |buffer| mapping.write(buffer));
    Ok(vec![ours, memcpy])
}

/// 10^9 bytes a second of copies of the whole buffer.
fn bandwidth(
    name: &'static str,
    setup: &Setup,
    buffer: &Buffer,
    copy: impl Fn(&mut [f64]) -> Result<()> + 'static,
) -> Contestant {
    let buffer = Rc::clone(buffer);
    let scale = setup.scale;
    Contestant::new(name, move || {
        let mut buffer = buffer.borrow_mut();
        let bytes = size_of_val(buffer.as_slice());
        let copies = scale.of(u64::try_from(BYTES_PER_SAMPLE / bytes)?);
        let started = Instant::now();
        for _ in 0..copies {
            copy(std::hint::black_box(&mut buffer))?;
        }
        Ok(copies as f64 * bytes as f64 / started.elapsed().as_secs_f64() / 1e9)
    })
}
