//! Which crate of the workspace may depend on which.
//!
//! `mp-sys <- {shm-core, kernel-ipc, manager-rt} <- mp-facade`. The tiers never depend on each other: not behind a
//! feature, not on one platform, not for tests, because a user of one tier should compile only that tier and `mp-sys`.
//! Cargo's metadata lists every dependency whatever its feature, platform and kind, so this check sees all of them. It
//! checks direct dependencies only, which suffices because it checks every link of a chain.

use cargo_metadata::{DependencyKind, Package};

use crate::tidy::{Finding, TextFile};

/// The crate without stability. Every requirement on it is exact.
const FLOOR: &str = "mp-sys";
const TIERS: [&str; 3] = ["shm-core", "kernel-ipc", "manager-rt"];
const FACADE: &str = "mp-facade";
const GUIDE: &str = "mp-docs";
const COMMANDS: &str = "xtask";

/// A package of the workspace with its dependencies on other packages of the workspace.
pub(super) struct Crate {
    name: String,
    arrows: Vec<Arrow>,
}

struct Arrow {
    to: String,
    kind: DependencyKind,
    /// The version requirement, as cargo prints it.
    requirement: String,
}

impl Crate {
    /// The dependencies by path, which are those inside the workspace.
    pub(super) fn from_package(package: &Package) -> Self {
        let inside = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
        let arrows = inside.map(|dependency| Arrow {
            to: dependency.name.clone(),
            kind: dependency.kind,
            requirement: dependency.req.to_string(),
        });
        Self { name: package.name.to_string(), arrows: arrows.collect() }
    }
}

/// Returns the findings about one crate; `manifest` is its Cargo.toml.
pub(super) fn check(krate: &Crate, manifest: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for arrow in &krate.arrows {
        let line = line_of(&arrow.to, &manifest.text);
        let mut report = |message: String| findings.push(Finding::new(&manifest.path, line, message));
        // For its tests, a package may depend on itself, to enable its own features.
        let own_tests = arrow.to == krate.name && arrow.kind == DependencyKind::Development;
        if own_tests {
            continue;
        }
        if let Some(rule) = broken_rule(&krate.name, arrow) {
            report(format!("`{}` may not depend on `{}`: {rule}", krate.name, arrow.to));
        }
        if arrow.to == FLOOR && !arrow.requirement.starts_with('=') {
            report(format!(
                "`{FLOOR}` promises no stability: require `=` instead of `{}`",
                arrow.requirement
            ));
        }
    }
    if !is_known(&krate.name) {
        let message =
            format!("the rules for arrows do not know `{}`: add it in xtask/src/tidy/arrows.rs", krate.name);
        findings.push(Finding::new(&manifest.path, 1, message));
    }
    findings
}

fn is_known(name: &str) -> bool {
    TIERS.contains(&name) || [FLOOR, FACADE, GUIDE, COMMANDS].contains(&name)
}

/// Returns the rule that an arrow breaks.
fn broken_rule(from: &str, arrow: &Arrow) -> Option<&'static str> {
    let to_floor = arrow.to == FLOOR;
    let to_tier = TIERS.contains(&arrow.to.as_str());
    match from {
        FLOOR => Some("mp-sys depends on no crate of the workspace"),
        _ if TIERS.contains(&from) => (!to_floor).then_some("a tier depends only on mp-sys"),
        FACADE => (!to_floor && !to_tier).then_some("the facade depends on the tiers and mp-sys"),
        GUIDE => (!to_tier && arrow.to != FACADE).then_some("the guide depends on the facade and the tiers"),
        COMMANDS => (arrow.kind != DependencyKind::Development)
            .then_some("xtask depends on the library crates only as dev-dependencies"),
        _ => None,
    }
}

/// The first line of the manifest that names the dependency, or 1 if it is written in an unusual way.
fn line_of(dependency: &str, manifest: &str) -> usize {
    let names_it = |line: &str| {
        let line = line.trim_start().trim_start_matches('[');
        let line = line.rsplit_once("dependencies.").map_or(line, |(_, name)| name);
        line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=', ']']))
    };
    manifest.lines().position(names_it).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fixture;

    fn findings(name: &str, arrows: &[(&str, DependencyKind, &str)]) -> Vec<Finding> {
        let arrows = arrows.iter().map(|(to, kind, requirement)| Arrow {
            to: (*to).to_owned(),
            kind: *kind,
            requirement: (*requirement).to_owned(),
        });
        let krate = Crate { name: name.to_owned(), arrows: arrows.collect() };
        check(&krate, &fixture::text("x/Cargo.toml", "[dependencies]\nshm-core = \"1\"\n"))
    }

    const NORMAL: DependencyKind = DependencyKind::Normal;
    const TESTS: DependencyKind = DependencyKind::Development;
    const BUILD: DependencyKind = DependencyKind::Build;

    #[test]
    fn the_drawn_arrows_are_allowed() {
        for tier in TIERS {
            assert_eq!(findings(tier, &[("mp-sys", NORMAL, "=0.1.0"), ("mp-sys", TESTS, "=0.1.0")]), []);
            assert_eq!(findings("mp-facade", &[(tier, NORMAL, "^0.1.0"), ("mp-sys", NORMAL, "=0.1.0")]), []);
            assert_eq!(findings("mp-docs", &[(tier, NORMAL, "^0.1.0"), ("mp-facade", NORMAL, "^0.1.0")]), []);
            assert_eq!(findings("xtask", &[(tier, TESTS, "^0.1.0"), ("mp-sys", TESTS, "=0.1.0")]), []);
        }
        assert_eq!(findings("mp-sys", &[("mp-sys", TESTS, "*")]), []);
    }

    #[test]
    fn a_tier_on_a_tier_is_found_in_every_kind() {
        for kind in [NORMAL, TESTS, BUILD] {
            let found = findings("kernel-ipc", &[("shm-core", kind, "^0.1.0")]);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].path.as_str(), found[0].line), ("x/Cargo.toml", 2));
        }
    }

    #[test]
    fn arrows_backwards_are_found() {
        assert_eq!(findings("mp-sys", &[("shm-core", TESTS, "^0.1.0")]).len(), 1);
        assert_eq!(findings("shm-core", &[("mp-facade", TESTS, "^0.1.0")]).len(), 1);
        assert_eq!(findings("mp-facade", &[("mp-docs", NORMAL, "^0.1.0")]).len(), 1);
        assert_eq!(findings("mp-docs", &[("mp-sys", NORMAL, "=0.1.0")]).len(), 1);
        assert_eq!(findings("xtask", &[("shm-core", NORMAL, "^0.1.0")]).len(), 1);
    }

    #[test]
    fn a_loose_requirement_on_the_floor_is_found() {
        assert_eq!(findings("shm-core", &[("mp-sys", NORMAL, "^0.1.0")]).len(), 1);
        assert_eq!(findings("xtask", &[("mp-sys", TESTS, "*")]).len(), 1);
    }

    #[test]
    fn a_crate_that_the_rules_do_not_know_is_found() {
        assert_eq!(findings("extra", &[]).len(), 1);
    }

    #[test]
    fn dependencies_are_found_in_the_manifest() {
        let manifest = "[package]\nname = \"mp-sys-x\"\n[dependencies]\nmp-sys-x = \"1\"\nmp-sys.workspace = true\n\
                        [target.'cfg(unix)'.dependencies.shm-core]\n";
        assert_eq!(line_of("mp-sys", manifest), 5);
        assert_eq!(line_of("shm-core", manifest), 6);
        assert_eq!(line_of("absent", manifest), 1);
    }
}
