//! Sizes and times as people read them.

use std::time::Duration;

/// Returns a number of bytes with at most four digits, such as `1.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // The greatest unit that is not above the number.
    let place = (count.ilog2() / 10).clamp(1, 6);
    let tenths = u128::from(count) * 10 / (1_u128 << (10 * place));
    let unit = UNITS.get(usize::try_from(place).unwrap_or(1) - 1).copied().unwrap_or("EiB");
    if tenths < 1000 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", tenths / 10)
    }
}

/// Returns a time in the unit in which it is at least 1, such as `3.2 s` or `2 h 5 min`.
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds, time.as_millis()) {
        (0, 0) => format!("{} us", time.as_micros()),
        (0, millis) => format!("{millis} ms"),
        (1..=59, millis) => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        (60..=3599, _) => format!("{} min {} s", seconds / 60, seconds % 60),
        (3600..=86_399, _) => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Returns how many times something happened in a second, if it happened `count` times in this time.
pub(crate) fn per_second(count: u64, time: Duration) -> u64 {
    let nanos = time.as_nanos().max(1);
    u64::try_from(u128::from(count) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_greatest_unit_that_fits() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (102_399, "99.9 KiB"),
            (102_400, "100 KiB"),
            ((1 << 20) - 1, "1023 KiB"),
            (1 << 20, "1.0 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(count), expected, "{count}");
        }
    }

    #[test]
    fn times_have_the_greatest_unit_that_fits() {
        for (millis, expected) in [
            (0, "0 us"),
            (1, "1 ms"),
            (999, "999 ms"),
            (1000, "1.0 s"),
            (59_999, "59.9 s"),
            (60_000, "1 min 0 s"),
            (3_599_000, "59 min 59 s"),
            (3_600_000, "1 h 0 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(time(Duration::from_millis(millis)), expected);
        }
        assert_eq!(time(Duration::from_micros(7)), "7 us");
    }

    #[test]
    fn rates_are_rounded_down_and_never_divide_by_zero() {
        assert_eq!(per_second(3, Duration::from_secs(2)), 1);
        assert_eq!(per_second(0, Duration::ZERO), 0);
        assert_eq!(per_second(u64::MAX, Duration::ZERO), u64::MAX);
    }
}
