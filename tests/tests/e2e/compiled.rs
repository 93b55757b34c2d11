//! Compiled code on disk: found again, private, and of no use to whoever spoils it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ordain_tests::app::App;

use crate::support::{model, plain, policy};

/// Starts, answers, ends; its log.
async fn started(cache: &Path) -> String {
    let mut app = App::builder()
        .dev()
        .env("ORDAIN_COMPONENT_CACHE", cache.to_str().expect("UTF-8"))
        .start()
        .await;
    app.store("acme", &policy("openai", "m")).await;
    let answer = app.resolve(&plain("acme")).await.expect(200);
    assert_eq!(model(&answer.json), "m");
    app.sigterm();
    assert!(app.wait_exit().await.success());
    app.log()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

fn mode(path: &Path) -> u32 {
    let metadata = std::fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o777
}

#[tokio::test]
async fn compiled_code_is_kept_private_and_used_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("a/b");
    let log = started(&cache).await;
    assert!(!log.contains("compiled"), "{log}");
    let [file] = &files(&cache)[..] else {
        panic!("{:?}", files(&cache));
    };
    assert_eq!((mode(&cache), mode(file)), (0o700, 0o600));
    let written = |file: &Path| {
        std::fs::metadata(file)
            .expect("it is there")
            .modified()
            .expect("a time")
    };
    let before = written(file);
    let log = started(&cache).await;
    assert!(!log.contains("compiled"), "{log}");
    assert_eq!(written(file), before, "it was not compiled again");
}

#[tokio::test]
async fn spoilt_code_is_compiled_again_and_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache");
    started(&cache).await;
    let file = files(&cache)[0].clone();
    let good = std::fs::read(&file).expect("it can be read");
    let spoilt = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cases = [
        Vec::new(),
        good[..10].to_vec(),
        good[..good.len() - 1].to_vec(),
        spoilt(0),
        spoilt(40),
        spoilt(good.len() / 2),
        [good.as_slice(), b"more"].concat(),
        vec![0x5a; 5000],
    ];
    for (number, bytes) in cases.iter().enumerate() {
        std::fs::write(&file, bytes).expect("it can be written");
        let log = started(&cache).await;
        assert!(
            log.contains("the component is compiled again"),
            "{number}: {log}"
        );
        assert_eq!(
            std::fs::read(&file).expect("it can be read").len(),
            good.len(),
            "{number}"
        );
    }
}

#[tokio::test]
async fn code_that_others_could_have_written_is_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache");
    started(&cache).await;
    let file = files(&cache)[0].clone();
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .expect("its owner may");
    };
    set(&file, 0o622);
    let log = started(&cache).await;
    assert!(log.contains("others may write to it (mode 622)"), "{log}");
    assert_eq!(mode(&file), 0o600, "it was replaced");
    set(&cache, 0o777);
    let log = started(&cache).await;
    assert!(
        log.contains("compiled code is not cached") && log.contains("chmod go-w"),
        "{log}"
    );
    // A folder that cannot be: the start is slower, and that is all.
    let log = started(&file.join("below-a-file")).await;
    assert!(log.contains("compiled code is not cached"), "{log}");
}
