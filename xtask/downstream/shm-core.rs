//! A program that depends on `shm-core`: threads count in shared memory.

use shm_core::{Array, Value};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (total, squares) = (Value::new(0_u64)?, Array::from_slice(&[0_u32, 1, 4, 9])?);
    std::thread::scope(|scope| {
        (0..4).for_each(|_| drop(scope.spawn(|| total.update(|n| n + 1))));
    });
    assert_eq!((total.get()?, squares.to_vec()?), (4, vec![0, 1, 4, 9]));
    Ok(())
}
