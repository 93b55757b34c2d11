//! Who may read a file that holds secrets. Not for what is in it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Its mode, if everybody on the machine may read it. Owner and group may: a service often shares a
/// group with whoever deploys it.
pub fn open_to_everybody(path: &Path) -> Option<u32> {
    let mode = std::fs::metadata(path).ok()?.mode() & 0o7777;
    (mode & 0o004 != 0).then_some(mode)
}
