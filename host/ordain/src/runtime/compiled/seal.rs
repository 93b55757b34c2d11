//! Seals over compiled code: who has the key made it, of this very component, with these settings.
//! Wasmtime runs whatever compiled code says, so nothing unsealed reaches it. Not for where code is
//! kept (`compiled`).

use std::hash::{BuildHasher, Hash, Hasher};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use wasmtime::Engine;

use super::trusted::{private, private_folder};

/// Bytes of a key, and of a seal.
pub const SEAL: usize = blake3::OUT_LEN;
/// The key of this user.
const FILE: &str = "compiled.key";
/// What the seal is for: the same key seals nothing else.
const PURPOSE: &[u8] = b"ordain compiled component 2\n";

#[derive(Clone)]
pub struct SealKey([u8; SEAL]);

impl SealKey {
    pub fn of(bytes: [u8; SEAL]) -> SealKey {
        SealKey(bytes)
    }

    pub fn random() -> SealKey {
        SealKey(rand::random())
    }

    pub fn bytes(&self) -> &[u8; SEAL] {
        &self.0
    }

    /// The key of this user, made at first use, in a folder that no configuration names.
    pub fn of_user() -> Result<SealKey, String> {
        let folders = user_folders(|name| std::env::var_os(name).map(PathBuf::from));
        let mut troubles = Vec::new();
        for folder in folders {
            match SealKey::in_folder(&folder) {
                Ok(key) => return Ok(key),
                Err(why) => troubles.push(format!("{}: {why}", folder.display())),
            }
        }
        let why = match troubles.is_empty() {
            true => "set HOME, XDG_CONFIG_HOME or XDG_CACHE_HOME".to_owned(),
            false => troubles.join("; "),
        };
        Err(format!(
            "there is no folder for the key that proves that compiled code is ours ({why})"
        ))
    }

    pub fn in_folder(folder: &Path) -> Result<SealKey, String> {
        private_folder(folder)?;
        let path = folder.join(FILE);
        if let Some(key) = read(&path)? {
            return Ok(key);
        }
        make(folder, &path).map_err(|error| error.to_string())?;
        // Somebody else's, if two began at once.
        read(&path)?.ok_or_else(|| format!("{FILE} has vanished"))
    }

    pub fn seal(&self, digest: &str, engine: &Engine, code: &[u8]) -> [u8; SEAL] {
        *self.hash(digest, engine, code).as_bytes()
    }

    /// `seal` is over this code, of this component, for this engine.
    pub fn fits(&self, seal: &[u8], digest: &str, engine: &Engine, code: &[u8]) -> bool {
        let Ok(seal) = <[u8; SEAL]>::try_from(seal) else {
            return false;
        };
        // Compared in constant time.
        self.hash(digest, engine, code) == blake3::Hash::from_bytes(seal)
    }

    fn hash(&self, digest: &str, engine: &Engine, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(PURPOSE);
        hasher.update(&(digest.len() as u64).to_le_bytes());
        hasher.update(digest.as_bytes());
        hasher.update(&settings(engine).to_le_bytes());
        hasher.update(code);
        hasher.finalize()
    }
}

/// Where this user's own settings and caches are, the first one first.
fn user_folders(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let set = |name| variable(name).filter(|path| !path.as_os_str().is_empty());
    let home = |below| set("HOME").map(|home| home.join(below));
    let folders = [
        set("XDG_CONFIG_HOME").or_else(|| home(".config")),
        set("XDG_CACHE_HOME").or_else(|| home(".cache")),
    ];
    let folders = folders.into_iter().flatten();
    folders
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("ordain"))
        .collect()
}

/// `None`: there is none.
fn read(path: &Path) -> Result<Option<SealKey>, String> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if !metadata.is_file() {
        return Err(format!("{FILE} is no file"));
    }
    private(&metadata).map_err(|why| format!("{FILE}: {why}"))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(format!(
            "{FILE} can be read by others: chmod 600, or remove it"
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let key = <[u8; SEAL]>::try_from(bytes);
    key.map(|key| Some(SealKey(key)))
        .map_err(|_| format!("{FILE} is no key: remove it"))
}

/// Linked into place: whoever reads sees all of it or nothing, and of two that begin at once one
/// wins.
fn make(folder: &Path, path: &Path) -> std::io::Result<()> {
    let new = folder.join(format!("{}.new", uuid::Uuid::now_v7()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    let made = file
        .write_all(SealKey::random().bytes())
        .and_then(|()| std::fs::hard_link(&new, path));
    let _ = std::fs::remove_file(&new);
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Hashes as the engine's compatibility does.
struct Compatibility<'a>(&'a Engine);

impl Hash for Compatibility<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.precompile_compatibility_hash().hash(state);
    }
}

/// Everything that compiled code depends on besides the component: Wasmtime's version, too.
pub fn settings(engine: &Engine) -> u64 {
    // A hasher without secrets: the same on every start.
    let hasher = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default();
    hasher.hash_one(Compatibility(engine))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_seal_fits_one_component_one_engine_and_one_code() {
        let engine = Engine::default();
        let mut other = wasmtime::Config::new();
        other.epoch_interruption(true);
        let other = Engine::new(&other).expect("an engine");
        let key = SealKey::random();
        let seal = key.seal("sha256:a", &engine, b"code");
        assert!(key.fits(&seal, "sha256:a", &engine, b"code"));
        assert!(!key.fits(&seal, "sha256:b", &engine, b"code"));
        assert!(!key.fits(&seal, "sha256:a", &other, b"code"));
        assert!(!key.fits(&seal, "sha256:a", &engine, b"codE"));
        assert!(!key.fits(&seal, "sha256:", &engine, b"acode"));
        assert!(!key.fits(&seal[..31], "sha256:a", &engine, b"code"));
        assert!(!SealKey::random().fits(&seal, "sha256:a", &engine, b"code"));
    }

    #[test]
    fn the_key_of_a_user_is_made_once_and_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("x/ordain");
        let keys: Vec<_> = std::thread::scope(|threads| {
            let work = || SealKey::in_folder(&folder).map(|key| *key.bytes());
            let threads: Vec<_> = (0..8).map(|_| threads.spawn(work)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        assert!(
            keys[0].is_ok() && keys.iter().all(|key| *key == keys[0]),
            "{keys:?}"
        );
        let file = folder.join(FILE);
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        let metadata = file.metadata().expect("a file");
        assert_eq!((metadata.mode() & 0o777, metadata.len()), (0o600, 32));
        for open in [0o640, 0o604, 0o620] {
            std::fs::set_permissions(&file, mode(open)).expect("ours");
            assert!(SealKey::in_folder(&folder).is_err(), "{open:o}");
        }
        std::fs::set_permissions(&file, mode(0o600)).expect("ours");
        std::fs::write(&file, "short").expect("ours");
        assert!(SealKey::in_folder(&folder).is_err());
        std::fs::remove_file(&file).expect("ours");
        std::os::unix::fs::symlink("/dev/zero", &file).expect("a link");
        assert!(SealKey::in_folder(&folder).is_err());
    }

    #[test]
    fn the_key_lies_where_the_user_keeps_settings_else_caches() {
        let folders = |variables: &[(&str, &str)]| {
            let found = user_folders(|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| PathBuf::from(value))
            });
            found
                .iter()
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            folders(&[("HOME", "/h")]),
            ["/h/.config/ordain", "/h/.cache/ordain"]
        );
        assert_eq!(folders(&[("XDG_CONFIG_HOME", "/c")]), ["/c/ordain"]);
        assert_eq!(folders(&[("XDG_CONFIG_HOME", ""), ("HOME", "h")]), [""; 0]);
    }
}
