//! Whether a file or a folder is this user's own, and nobody else can put another in its place. Not
//! for what is in it.

use std::collections::VecDeque;
use std::fs::Metadata;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// Links on one way, at most.
const LINKS_MAX: usize = 32;
const STICKY: u32 = 0o1000;

/// Makes the folder, private, if there is none; refuses one that others could change or replace.
pub fn private_folder(folder: &Path) -> Result<(), String> {
    let folder = std::path::absolute(folder).map_err(|error| error.to_string())?;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder);
    made.map_err(|error| error.to_string())?;
    trusted_way(&folder)?;
    let metadata = std::fs::metadata(&folder).map_err(|error| error.to_string())?;
    if !metadata.is_dir() {
        return Err("it is no folder".to_owned());
    }
    private(&metadata)
}

/// Code that somebody else could have written must never be run.
pub fn private(metadata: &Metadata) -> Result<(), String> {
    if metadata.uid() != user() {
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

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Every folder and every link on the way to `path` is of this user or of root, and others cannot
/// rename what lies in it.
fn trusted_way(path: &Path) -> Result<(), String> {
    let mut left: VecDeque<PathBuf> = parts(path);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        let next = match part.as_os_str().as_encoded_bytes() {
            b"/" => "/".into(),
            b".." => at
                .parent()
                .map(Path::to_owned)
                .unwrap_or_else(|| at.clone()),
            _ => at.join(&part),
        };
        let metadata = next
            .symlink_metadata()
            .map_err(|error| format!("{}: {error}", next.display()))?;
        if ![0, user()].contains(&metadata.uid()) {
            return Err(format!(
                "{} on the way to it belongs to another user",
                next.display()
            ));
        }
        if metadata.is_symlink() {
            links += 1;
            if links > LINKS_MAX {
                return Err("there are too many links on the way to it".to_owned());
            }
            let target = std::fs::read_link(&next).map_err(|error| error.to_string())?;
            for part in parts(&target).into_iter().rev() {
                left.push_front(part);
            }
            // A link is read from the folder that it lies in.
            continue;
        }
        let mode = metadata.mode();
        if !left.is_empty() && mode & 0o022 != 0 && mode & STICKY == 0 {
            return Err(format!(
                "others may write to {} on the way to it (mode {:03o}) and so put another in its place: \
                 take that away with chmod go-w, or name another folder",
                next.display(),
                mode & 0o7777
            ));
        }
        at = next;
    }
    Ok(())
}

fn parts(path: &Path) -> VecDeque<PathBuf> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.map(|part| PathBuf::from(part.as_os_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("its owner may");
    }

    #[test]
    fn a_folder_is_made_private_and_its_parents_are_looked_at() {
        let base = tempfile::tempdir().expect("a folder");
        let base = base.path();
        let folder = base.join("a/b");
        assert_eq!(private_folder(&folder), Ok(()));
        let mode = |path: &Path| path.metadata().expect("there").mode() & 0o7777;
        assert_eq!((mode(&folder), mode(&base.join("a"))), (0o700, 0o700));
        for (open, refused) in [
            (0o777, true),
            (0o770, true),
            (0o1777, false),
            (0o755, false),
        ] {
            set(&base.join("a"), open);
            let told = private_folder(&folder);
            assert_eq!(told.is_err(), refused, "{open:o}: {told:?}");
            if let Err(why) = told {
                assert!(why.contains("/a on the way to it"), "{why}");
            }
        }
        set(&folder, 0o777);
        let why = private_folder(&folder).expect_err("open");
        assert!(
            why.starts_with("others may write to it (mode 777)"),
            "{why}"
        );
    }

    #[test]
    fn links_are_followed_and_every_folder_on_their_way_counts() {
        let base = tempfile::tempdir().expect("a folder");
        let base = base.path();
        for name in ["good", "open", "open/hidden"] {
            std::fs::create_dir(base.join(name)).expect("a folder");
        }
        set(&base.join("open"), 0o777);
        symlink("good", base.join("to-good")).expect("a link");
        symlink("open/hidden", base.join("to-hidden")).expect("a link");
        symlink(base.join("to-hidden"), base.join("twice")).expect("a link");
        symlink("round", base.join("round")).expect("a link");
        symlink("../good", base.join("open/out")).expect("a link");
        assert_eq!(private_folder(&base.join("to-good")), Ok(()));
        assert_eq!(private_folder(&base.join("to-good/below")), Ok(()));
        for bad in ["to-hidden", "twice", "open/out", "to-good/../open/hidden"] {
            let why = private_folder(&base.join(bad)).expect_err(bad);
            assert!(why.contains("/open on the way to it"), "{bad}: {why}");
        }
        assert!(private_folder(&base.join("round")).is_err());
        let file = base.join("file");
        std::fs::write(&file, "").expect("a file");
        assert!(private_folder(&file).is_err());
    }

    #[test]
    fn what_belongs_to_somebody_else_is_refused() {
        let base = tempfile::tempdir().expect("a folder");
        let folder = base.path().join("theirs");
        std::fs::create_dir_all(folder.join("ours")).expect("folders");
        if std::os::unix::fs::chown(&folder, Some(12_345), None).is_err() {
            // Only root can give away.
            return;
        }
        let why = private_folder(&folder.join("ours")).expect_err("theirs");
        assert!(why.contains("belongs to another user"), "{why}");
        assert!(private_folder(&folder).is_err());
    }
}
