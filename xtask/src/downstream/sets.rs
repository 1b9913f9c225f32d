//! The sets of features that a library is built with.
//!
//! A user may enable any set of the features that are meant for users, so each set is built. Features for tests are
//! added to all others, once: they are not part of what the crate promises, and each would double the number of builds.

use std::collections::BTreeSet;

/// Features that only tests of the workspace enable.
const FOR_TESTS: [&str; 3] = ["conformance", "crash-points", "testing"];
/// The feature that cargo enables by itself.
const DEFAULT: &str = "default";
/// The most features for users. More sets would take CI too long: think about which of them really differ.
const FOR_USERS_MAX: usize = 4;

/// The features to enable, without the default ones.
pub(super) type Features = Vec<String>;

/// Returns the sets of a library with these `features`, or their number if there are too many to try all their sets.
pub(super) fn of(features: &[&str]) -> Result<Vec<Features>, usize> {
    let is_plain = |feature: &&str| *feature != DEFAULT && !FOR_TESTS.contains(feature);
    let for_users: BTreeSet<&str> = features.iter().copied().filter(is_plain).collect();
    if for_users.len() > FOR_USERS_MAX {
        return Err(for_users.len());
    }
    let mut sets: Vec<BTreeSet<&str>> = vec![BTreeSet::new()];
    for feature in &for_users {
        let with = sets.iter().map(|set| set.iter().chain([feature]).copied().collect());
        sets.extend(with.collect::<Vec<_>>());
    }
    if features.contains(&DEFAULT) {
        sets.push(BTreeSet::from([DEFAULT]));
    }
    let all: BTreeSet<&str> = features.iter().copied().filter(|feature| *feature != DEFAULT).collect();
    if !sets.contains(&all) {
        sets.push(all);
    }
    Ok(sets.into_iter().map(|set| set.into_iter().map(str::to_owned).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(features: &[&str]) -> Vec<String> {
        of(features).unwrap().iter().map(|set| set.join(",")).collect()
    }

    #[test]
    fn every_set_of_the_features_for_users_is_built() {
        assert_eq!(joined(&[]), [""]);
        assert_eq!(joined(&["handshake"]), ["", "handshake"]);
        assert_eq!(
            joined(&["manager", "ipc", "shm"]),
            ["", "ipc", "manager", "ipc,manager", "shm", "ipc,shm", "manager,shm", "ipc,manager,shm"]
        );
    }

    #[test]
    fn features_for_tests_come_on_top_of_all() {
        assert_eq!(joined(&["crash-points"]), ["", "crash-points"]);
        assert_eq!(joined(&["testing", "a", "crash-points"]), ["", "a", "a,crash-points,testing"]);
    }

    #[test]
    fn the_default_is_a_set_of_its_own() {
        assert_eq!(joined(&["a", "default"]), ["", "a", "default"]);
    }

    #[test]
    fn one_feature_more_than_can_be_tried_is_an_error() {
        assert_eq!(of(&["a", "b", "c", "d"]).unwrap().len(), 16);
        assert_eq!(of(&["a", "b", "c", "d", "e"]), Err(5));
    }
}
