//! Compiled code on disk, so that a start need not compile. Found by digest of the component and
//! settings of the engine; whatever is not exactly what was written (truncated, corrupted, of another
//! version of Wasmtime, of another owner) is compiled again. An aid only: no failure here is an error.

use std::hash::{BuildHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use wasmtime::Engine;
use wasmtime::component::Component;

/// Files that are kept; the oldest go.
const FILES_MAX: usize = 32;
/// Begins every file; the digest of the rest follows.
const MAGIC: &[u8] = b"ordain compiled component 1\n";
const HASH: usize = blake3::OUT_LEN;

pub struct CompiledCache {
    folder: PathBuf,
}

pub enum Compiled {
    Found(Component),
    /// To be compiled, and put here.
    Missing(Place),
}

/// Where the code of one component belongs.
pub struct Place {
    folder: PathBuf,
    file: PathBuf,
}

impl CompiledCache {
    /// `None`: the folder cannot be used, which is logged.
    pub fn open(folder: &Path) -> Option<CompiledCache> {
        match private_folder(folder) {
            Ok(()) => Some(CompiledCache {
                folder: folder.to_owned(),
            }),
            Err(why) => {
                let folder = folder.display().to_string();
                tracing::warn!(folder, why, "compiled code is not cached");
                None
            }
        }
    }

    pub fn get(&self, digest: &str, engine: &Engine) -> Compiled {
        let name = digest.trim_start_matches("sha256:");
        let file = self
            .folder
            .join(format!("{name}-{:016x}.bin", settings(engine)));
        match read(&file) {
            Ok(None) => {}
            Ok(Some(code)) => match deserialize(engine, &code) {
                Ok(component) => return Compiled::Found(component),
                Err(error) => {
                    tracing::warn!(file = %file.display(), error = format!("{error:#}"), "compiled code is of no use: the component is compiled again");
                }
            },
            Err(why) => {
                tracing::warn!(file = %file.display(), why, "compiled code is of no use: the component is compiled again");
            }
        }
        Compiled::Missing(Place {
            folder: self.folder.clone(),
            file,
        })
    }
}

impl Place {
    pub fn put(&self, component: &Component) {
        let written = component
            .serialize()
            .map_err(|error| format!("{error:#}"))
            .and_then(|code| self.write(&code).map_err(|error| error.to_string()));
        match written {
            Ok(()) => tidy(&self.folder),
            Err(why) => {
                tracing::warn!(file = %self.file.display(), why, "compiled code is not kept")
            }
        }
    }

    /// Renamed into place: whoever reads sees all of it or nothing.
    fn write(&self, code: &[u8]) -> std::io::Result<()> {
        let unique = uuid::Uuid::now_v7();
        let new = self.folder.join(format!("{unique}.new"));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        let written = file
            .write_all(MAGIC)
            .and_then(|()| file.write_all(blake3::hash(code).as_bytes()))
            .and_then(|()| file.write_all(code))
            .and_then(|()| std::fs::rename(&new, &self.file));
        if written.is_err() {
            // What is left over is removed with the oldest.
            let _ = std::fs::remove_file(&new);
        }
        written
    }
}

/// The code in a file, if it is ours and whole. `None`: there is no such file.
fn read(file: &Path) -> Result<Option<Vec<u8>>, String> {
    let metadata = match std::fs::symlink_metadata(file) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if !metadata.is_file() {
        return Err("it is no file".to_owned());
    }
    private(&metadata)?;
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("it does not begin as it must")?;
    match rest.split_at_checked(HASH) {
        Some((hash, code)) if blake3::hash(code).as_bytes() == hash => Ok(Some(code.to_vec())),
        _ => Err("it is truncated or corrupted".to_owned()),
    }
}

// The one thing that cannot be had without `unsafe`: Wasmtime runs what the bytes say.
#[allow(unsafe_code)]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes were written by this program: they lie in a folder and a file that only this
    // user can write (whoever can, can also replace the program), and a digest over all of them shows
    // that they are whole. Wasmtime itself refuses code of another version or other settings.
    unsafe { Component::deserialize(engine, code) }
}

/// Hashes as the engine's compatibility does.
struct Compatibility<'a>(&'a Engine);

impl Hash for Compatibility<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.precompile_compatibility_hash().hash(state);
    }
}

/// Everything that compiled code depends on besides the component.
fn settings(engine: &Engine) -> u64 {
    // A hasher without secrets: the same on every start.
    let hasher = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default();
    hasher.hash_one(Compatibility(engine))
}

fn private_folder(folder: &Path) -> Result<(), String> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.map_err(|error| error.to_string())?;
    let metadata = std::fs::metadata(folder).map_err(|error| error.to_string())?;
    if !metadata.is_dir() {
        return Err("it is no folder".to_owned());
    }
    private(&metadata)
}

/// Code that somebody else could have written must never be run.
fn private(metadata: &std::fs::Metadata) -> Result<(), String> {
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err("it belongs to another user".to_owned());
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(format!(
            "others may write to it (mode {:03o}): take that away with chmod go-w",
            metadata.mode() & 0o777
        ));
    }
    Ok(())
}

/// Removes the oldest files beyond the limit. Of other files in the folder it touches none.
fn tidy(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut files: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "bin" || e == "new"))
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .collect();
    files.sort();
    let surplus = files.len().saturating_sub(FILES_MAX);
    for (_, path) in files.drain(..surplus) {
        let _ = std::fs::remove_file(path);
    }
}
