//! The component file of this instance, and the signature beside it. Not for what becomes of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::runtime::signature;

/// What tells a file, and the signature beside it, from what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp([Option<(u64, SystemTime)>; 2]);

impl Stamp {
    /// `None`: there is no such file.
    pub async fn of(path: &Path) -> Option<Stamp> {
        let stamp = async |path: &Path| {
            let metadata = tokio::fs::metadata(path).await.ok()?;
            Some((metadata.len(), metadata.modified().ok()?))
        };
        let file = stamp(path).await?;
        Some(Stamp([Some(file), stamp(&beside(path)).await]))
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sig");
    beside.into()
}

/// A component file, and its signature if there is one beside it (`FILE.sig`: 64 bytes or base64).
pub async fn read_signed(path: &Path) -> std::io::Result<(Arc<[u8]>, Option<String>)> {
    let bytes = tokio::fs::read(path).await?;
    let signature = match tokio::fs::read(beside(path)).await {
        Ok(signature) => Some(signature::text(&signature)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok((bytes.into(), signature))
}
