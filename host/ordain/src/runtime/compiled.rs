//! Compiled code on disk, so that a start need not compile. Found by digest of the component and
//! settings of the engine; whatever is not exactly what this user's program wrote of that component
//! (truncated, corrupted, of another version of Wasmtime, of another owner, of another component)
//! is compiled again. An aid only: no failure here is an error.

pub mod seal;
mod trusted;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use wasmtime::Engine;
use wasmtime::component::Component;

use seal::{SEAL, SealKey, settings};
use trusted::{private, private_folder};

/// Files that are kept; the oldest go.
const FILES_MAX: usize = 32;
/// Begins every file; the seal of the rest follows.
const MAGIC: &[u8] = b"ordain compiled component 2\n";

pub struct CompiledCache {
    folder: PathBuf,
    key: SealKey,
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
    key: SealKey,
    digest: String,
}

impl CompiledCache {
    /// `None`: the folder cannot be used, which is logged.
    pub fn open(folder: &Path) -> Option<CompiledCache> {
        let key = private_folder(folder).and_then(|()| SealKey::of_user());
        match key {
            Ok(key) => Some(CompiledCache {
                folder: folder.to_owned(),
                key,
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
        match self.sealed(&file, digest, engine) {
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
            key: self.key.clone(),
            digest: digest.to_owned(),
        })
    }

    /// The code in a file, if it is ours, whole, and of this component. `None`: there is no such
    /// file.
    fn sealed(
        &self,
        file: &Path,
        digest: &str,
        engine: &Engine,
    ) -> Result<Option<Vec<u8>>, String> {
        let Some(bytes) = read(file)? else {
            return Ok(None);
        };
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or("it does not begin as it must")?;
        match rest.split_at_checked(SEAL) {
            Some((seal, code)) if self.key.fits(seal, digest, engine, code) => {
                Ok(Some(code.to_vec()))
            }
            _ => Err("it is truncated, corrupted, or not what this user compiled of it".to_owned()),
        }
    }
}

impl Place {
    pub fn put(&self, engine: &Engine, code: &[u8]) {
        let seal = self.key.seal(&self.digest, engine, code);
        match self.write(&seal, code) {
            Ok(()) => tidy(&self.folder),
            Err(error) => {
                let why = error.to_string();
                tracing::warn!(file = %self.file.display(), why, "compiled code is not kept")
            }
        }
    }

    /// Renamed into place: whoever reads sees all of it or nothing.
    fn write(&self, seal: &[u8], code: &[u8]) -> std::io::Result<()> {
        let unique = uuid::Uuid::now_v7();
        let new = self.folder.join(format!("{unique}.new"));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        let written = file
            .write_all(MAGIC)
            .and_then(|()| file.write_all(seal))
            .and_then(|()| file.write_all(code))
            .and_then(|()| std::fs::rename(&new, &self.file));
        if written.is_err() {
            // What is left over is removed with the oldest.
            let _ = std::fs::remove_file(&new);
        }
        written
    }
}

/// What is in a file of ours. `None`: there is no such file.
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
    Ok(Some(bytes))
}

// The one thing that cannot be had without `unsafe`: Wasmtime runs what the bytes say.
#[allow(unsafe_code)]
pub fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes bear a seal by a key that only this user has, or that was made for the one
    // process that compiled them: they are what this program made of a component, all of it
    // (whoever can read that key can also replace the program). Wasmtime itself refuses code of
    // another version or other settings.
    unsafe { Component::deserialize(engine, code) }
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
