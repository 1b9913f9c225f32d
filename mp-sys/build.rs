//! Does nothing. Cargo requires a build script for a manifest with `links`, and because of `links` cargo refuses a
//! program with two copies of this crate. Each copy would count only its own guards, so a fork that one permits could
//! copy a guard of the other.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
