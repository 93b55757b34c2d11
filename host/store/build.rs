//! A new migration must be built into the program; the macro alone does not notice one.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
