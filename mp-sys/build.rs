//! Does nothing: cargo asks for a build script where a manifest has `links`, and `links` is what makes cargo refuse a program
//! with two copies of this crate. Each would count the guards of its own, and a fork that one permits could copy the other's.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
