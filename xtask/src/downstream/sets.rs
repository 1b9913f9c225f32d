//! The sets of features that a library is built with.
//!
//! A user may enable any set of the features that are meant for users, so each set is built. Two kinds of features would
//! double the number of builds for little:
//!
//! - features for tests are not part of what the crate promises, so they are added to all others, once;
//! - features that only add to whatever else is enabled are built alone, and with all others.

use std::collections::{BTreeMap, BTreeSet};

/// Features that only tests of the workspace enable.
const FOR_TESTS: [&str; 3] = ["conformance", "crash-points", "testing"];
/// Features that add something to each of the others, and change nothing of them.
const ADDITIONS: [&str; 7] = ["cli", "rabbitmq", "rabbitmq-tls", "redis", "redis-tls", "tcp", "tokio"];
/// The feature that cargo enables by itself.
const DEFAULT: &str = "default";
/// The most features for users. More sets would take CI too long: think about which of them really differ.
const FOR_USERS_MAX: usize = 4;

/// The features to enable, without the default ones.
pub(super) type Features = Vec<String>;

/// Returns the sets of a library with these `features`, or their number if there are too many to try all their sets.
/// `features` lists for each feature what it enables, as the manifest does.
pub(super) fn of(features: &BTreeMap<String, Vec<String>>) -> Result<Vec<Features>, usize> {
    let names = features.keys().map(String::as_str);
    let is_plain =
        |feature: &&str| *feature != DEFAULT && !FOR_TESTS.contains(feature) && !ADDITIONS.contains(feature);
    let for_users: BTreeSet<&str> = names.filter(is_plain).collect();
    if for_users.len() > FOR_USERS_MAX {
        return Err(for_users.len());
    }
    let mut sets: Vec<BTreeSet<&str>> = vec![BTreeSet::new()];
    for feature in &for_users {
        let with = sets.iter().map(|set| set.iter().chain([feature]).copied().collect());
        sets.extend(with.collect::<Vec<_>>());
    }
    sets.retain(|set| *set == without_implied(set, features));
    if features.contains_key(DEFAULT) {
        sets.push(BTreeSet::from([DEFAULT]));
    }
    for addition in ADDITIONS.iter().copied().filter(|addition| features.contains_key(*addition)) {
        sets.push(BTreeSet::from([addition]));
    }
    Ok(with_all(sets, features))
}

/// Returns no feature, each feature for users by itself, and all features.
pub(super) fn each(features: &BTreeMap<String, Vec<String>>) -> Vec<Features> {
    let for_users = features.keys().map(String::as_str).filter(|name| !FOR_TESTS.contains(name));
    let alone = for_users.map(|name| BTreeSet::from([name]));
    with_all(std::iter::once(BTreeSet::new()).chain(alone).collect(), features)
}

/// Returns the sets, and the one of all features.
fn with_all<'f>(
    mut sets: Vec<BTreeSet<&'f str>>,
    features: &'f BTreeMap<String, Vec<String>>,
) -> Vec<Features> {
    let names = features.keys().map(String::as_str);
    let all = without_implied(&names.filter(|name| *name != DEFAULT).collect(), features);
    if !sets.contains(&all) {
        sets.push(all);
    }
    sets.into_iter().map(|set| set.into_iter().map(str::to_owned).collect()).collect()
}

/// Returns the set without those features that others of the set enable: both sets build the same.
fn without_implied<'f>(
    set: &BTreeSet<&'f str>,
    features: &BTreeMap<String, Vec<String>>,
) -> BTreeSet<&'f str> {
    let is_implied =
        |feature: &str| set.iter().any(|other| *other != feature && enables(other, feature, features));
    set.iter().copied().filter(|feature| !is_implied(feature)).collect()
}

/// Whether a feature enables another one, directly or not. Cargo allows no circle of features.
fn enables(feature: &str, other: &str, features: &BTreeMap<String, Vec<String>>) -> bool {
    let enabled = features.get(feature).into_iter().flatten();
    enabled.into_iter().any(|enabled| enabled == other || enables(enabled, other, features))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The features of a manifest, none of which enables another.
    fn plain(features: &[&str]) -> BTreeMap<String, Vec<String>> {
        features.iter().map(|feature| ((*feature).to_owned(), Vec::new())).collect()
    }

    fn joined(features: &[&str]) -> Vec<String> {
        of(&plain(features)).unwrap().iter().map(|set| set.join(",")).collect()
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
    fn an_addition_is_built_alone_and_with_all() {
        assert_eq!(joined(&["a", "b", "tcp"]), ["", "a", "b", "a,b", "tcp", "a,b,tcp"]);
        let sets = joined(&["a", "default", "tcp", "tokio"]);
        assert_eq!(sets, ["", "a", "default", "tcp", "tokio", "a,tcp,tokio"]);
        assert_eq!(of(&plain(&["a", "b", "c", "d", "tcp", "tokio"])).unwrap().len(), 19);
    }

    #[test]
    fn each_feature_is_built_by_itself_and_all_together() {
        let sets = |names: &[&str]| each(&plain(names)).iter().map(|set| set.join(",")).collect::<Vec<_>>();
        assert_eq!(sets(&[]), [""]);
        assert_eq!(sets(&["handshake"]), ["", "handshake"]);
        assert_eq!(sets(&["a", "default", "tcp", "testing"]), ["", "a", "default", "tcp", "a,tcp,testing"]);
    }

    #[test]
    fn the_default_is_a_set_of_its_own() {
        assert_eq!(joined(&["a", "default"]), ["", "a", "default"]);
    }

    #[test]
    fn one_feature_more_than_can_be_tried_is_an_error() {
        assert_eq!(of(&plain(&["a", "b", "c", "d"])).unwrap().len(), 16);
        assert_eq!(of(&plain(&["a", "b", "c", "d", "e"])), Err(5));
    }

    #[test]
    fn a_feature_that_another_one_enables_makes_no_set_of_its_own_beside_it() {
        let mut features = plain(&["client", "server", "testing"]);
        let enabled = ["client".to_owned(), "dep:mio".to_owned(), "library/server".to_owned()];
        features.insert("server".to_owned(), enabled.to_vec());
        features.insert("more".to_owned(), vec!["server".to_owned()]);
        let sets: Vec<_> = of(&features).unwrap().iter().map(|set| set.join(",")).collect();
        assert_eq!(sets, ["", "client", "more", "server", "more,testing"]);
    }
}
