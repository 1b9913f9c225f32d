//! The serial numbers of places for objects that were given up.
//!
//! Whoever gets such a place later begins after its number. One number for all of them would end the ids of all places with
//! those of the busiest one: a manager that makes and drops one object at a time uses the same place again and again.

/// The most runs of places with one number. Beyond that, neighbours whose numbers differ least count as one run.
const RUNS_MAX: usize = 1_024;

/// The greatest serial numbers of places that were given up, in runs of places: each begins at a place, and ends where
/// the next one begins.
#[derive(Debug, Default)]
pub(super) struct GivenUp(Vec<(usize, u64)>);

impl GivenUp {
    /// Records the same number for all places before `end`, or for all there are.
    pub(super) fn all_before(end: Option<usize>, serial: u64) -> Self {
        Self(std::iter::once((0, serial)).chain(end.map(|end| (end, 0))).collect())
    }

    /// Returns the number of a place.
    pub(super) fn serial(&self, slot: usize) -> u64 {
        let behind = self.0.partition_point(|(begin, _)| *begin <= slot);
        behind.checked_sub(1).and_then(|at| self.0.get(at)).map_or(0, |(_, serial)| *serial)
    }

    /// Returns the greatest number.
    pub(super) fn greatest(&self) -> u64 {
        self.0.iter().map(|(_, serial)| *serial).max().unwrap_or(0)
    }

    /// Gives up the places from `first` on, which have these numbers.
    pub(super) fn add(&mut self, first: usize, serials: impl ExactSizeIterator<Item = u64>) {
        let end = first.saturating_add(serials.len());
        let behind = (end, self.serial(end));
        let later: Vec<_> = self.0.iter().copied().filter(|(begin, _)| *begin > end).collect();
        self.0.retain(|(begin, _)| *begin < first);
        for run in (first..).zip(serials).chain([behind]).chain(later) {
            if self.0.last().is_none_or(|(_, serial)| *serial != run.1) {
                self.0.push(run);
            }
            if self.0.len() > RUNS_MAX.saturating_mul(2) {
                self.join();
            }
        }
        self.join();
    }

    /// Makes one run of neighbours whose numbers differ little, until there are few runs.
    fn join(&mut self) {
        let mut least = 1_u64;
        while self.0.len() > RUNS_MAX {
            self.0.dedup_by(|later, earlier| {
                let is_near = later.1.abs_diff(earlier.1) <= least;
                if is_near {
                    earlier.1 = earlier.1.max(later.1);
                }
                is_near
            });
            least = least.saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_own_number() {
        let mut given_up = GivenUp::default();
        given_up.add(1, [7, 7, 9].into_iter());
        assert_eq!([0, 1, 2, 3, 4].map(|slot| given_up.serial(slot)), [0, 7, 7, 9, 0]);
        given_up.add(0, [100, 8].into_iter());
        assert_eq!([0, 1, 2, 3, 4].map(|slot| given_up.serial(slot)), [100, 8, 7, 9, 0]);
        assert_eq!((given_up.greatest(), GivenUp::default().greatest()), (100, 0));
        let all = GivenUp::all_before(Some(3), 5);
        assert_eq!([0, 2, 3].map(|slot| all.serial(slot)), [5, 5, 0]);
        assert_eq!(GivenUp::all_before(None, 5).serial(usize::MAX), 5);
    }

    #[test]
    fn above_the_limit_of_runs_a_place_counts_as_its_neighbour_whose_number_is_greater() {
        for places in [RUNS_MAX - 1, RUNS_MAX, 9 * RUNS_MAX] {
            let numbers: Vec<u64> = (0..).map(|slot| slot % 7 * 10 + 1).take(places).collect();
            let mut given_up = GivenUp::default();
            given_up.add(0, numbers.iter().copied());
            assert!(given_up.0.len() <= RUNS_MAX);
            for (slot, number) in numbers.iter().enumerate() {
                let serial = given_up.serial(slot);
                assert!(serial >= *number && (serial == *number || places >= RUNS_MAX), "{slot} of {places}");
            }
        }
    }
}
