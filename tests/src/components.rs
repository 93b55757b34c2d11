//! Component files for tests: `crate test-components` with a mode written into its bytes, so that
//! one build is many components with digests of their own; and files made by hand (`made`). What
//! the modes are is said in `tests/components/src/mode.rs`. Not for what a host should do with any
//! of them.

pub mod made;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::process;

const MARKER: &[u8] = b"ORDAIN-TEST-MODE:";
/// Bytes behind the marker.
const ROOM: usize = 128;

/// The component that behaves like the real one until `mode` tells it not to.
pub fn component(mode: &str) -> Vec<u8> {
    let path = process::binary().with_file_name("test-component.wasm");
    let Ok(mut bytes) = std::fs::read(&path) else {
        panic!("{} is missing, run: make guest", path.display());
    };
    let found: Vec<usize> = (0..bytes.len())
        .filter(|at| bytes[*at..].starts_with(MARKER))
        .collect();
    let [at] = found.as_slice() else {
        panic!("{} has no single place for a mode", path.display());
    };
    assert!(mode.len() <= ROOM, "{mode:?} is too long");
    let place = &mut bytes[at + MARKER.len()..][..ROOM];
    place.fill(b' ');
    place[..mode.len()].copy_from_slice(mode.as_bytes());
    bytes
}

/// The real component.
pub fn real() -> Vec<u8> {
    std::fs::read(process::component()).expect("the file is there")
}

/// The name by which answers call a component of these bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// Such a component as a file in `folder`.
pub fn write_component(folder: &Path, mode: &str) -> PathBuf {
    let name: String = mode
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    write(folder, &name, &component(mode))
}

/// Any bytes as a component file in `folder`.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(format!("{name}.wasm"));
    std::fs::write(&path, bytes).expect("the folder can be written to");
    path
}
