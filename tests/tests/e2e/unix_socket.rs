//! `ordain serve` on a Unix socket: what it does with files that are in the way, and who can talk
//! to it.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use ordain_tests::app::{App, Builder};
use ordain_tests::cli::{cli, cli_with};
use ordain_tests::wait::{PATIENCE, eventually, holds};

use crate::support::{model, plain, version};

/// A folder of its own, short enough for the path of a socket, and the address of a socket in it.
fn place() -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("ordain.sock");
    let address = format!("unix:{}", path.display());
    (folder, path, address)
}

fn on(address: &str) -> Builder {
    App::builder().dev().listen(address)
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// It does not start, and says all of this.
async fn refused(address: &str, says: &[&str]) {
    let (code, log) = on(address).refused().await;
    assert!(matches!(code, Some(1 | 2)), "{address}: {code:?}\n{log}");
    assert!(!log.contains("listening on"), "{address}\n{log}");
    for part in says {
        assert!(log.contains(part), "{address} should say {part:?}\n{log}");
    }
}

#[tokio::test]
async fn it_answers_on_a_socket_that_owner_and_group_may_use_and_that_goes_with_it() {
    let (_folder, path, address) = place();
    let mut app = on(&address).start().await;
    assert_eq!(app.base(), address, "what it prints is what it was told");
    let mode = std::fs::metadata(&path).expect("a socket").permissions();
    assert_eq!(mode.mode() & 0o777, 0o660);
    app.store("t", &version(1)).await;
    assert_eq!(
        model(&app.resolve(&plain("t")).await.expect(200).json),
        "m1"
    );
    app.sigterm();
    assert_eq!(app.wait_exit().await.code(), Some(0));
    assert!(!path.exists(), "a graceful stop removes the socket");
}

#[tokio::test]
async fn a_socket_whose_group_or_mode_an_operator_has_changed_goes_with_it_too() {
    let change: [fn(&Path); 2] = [
        |path| {
            let open = std::fs::Permissions::from_mode(0o666);
            std::fs::set_permissions(path, open).expect("the file is ours");
        },
        |path| {
            let file = std::fs::metadata(path).expect("a socket");
            let own = std::os::unix::fs::MetadataExt::gid(&file);
            std::os::unix::fs::chown(path, None, Some(own)).expect("the file is ours");
        },
    ];
    for change in change {
        let (_folder, path, address) = place();
        let mut app = on(&address).start().await;
        change(&path);
        app.get("/healthz").await.expect(200);
        app.sigterm();
        assert_eq!(app.wait_exit().await.code(), Some(0));
        assert!(!path.exists(), "a graceful stop removes the socket");
    }
}

#[tokio::test]
async fn the_command_line_talks_to_a_socket() {
    let (_folder, path, address) = place();
    let app = on(&address).start().await;
    app.store("t", &version(1)).await;
    let args = ["resolve", "--tenant", "t", "--json"];
    let flagged = args.into_iter().chain(["--server", &address]);
    let answer = cli(flagged).await.expect(0).json();
    assert_eq!(model(&answer), "m1");
    // As a URL, and by the variable.
    let url = format!("unix://{}", path.display());
    let answer = cli_with(&[("ORDAIN_SERVER", &url)], args).await.expect(0);
    assert_eq!(model(&answer.json()), "m1");
    drop(app);
    let gone = cli(args.into_iter().chain(["--server", &address])).await;
    let gone = gone.expect(1);
    assert!(gone.stderr.contains(&address), "{gone:?}");
    let wrong = cli(args.into_iter().chain(["--server", "unix:x.sock"])).await;
    let wrong = wrong.expect(2);
    assert!(wrong.stderr.contains("begin with /"), "{wrong:?}");
}

#[tokio::test]
async fn a_socket_that_nobody_answers_on_is_replaced() {
    let (_folder, path, address) = place();
    let mut first = on(&address).start().await;
    first.sigkill();
    first.wait_exit().await;
    assert!(is_socket(&path), "a crash leaves it behind");
    let second = on(&address).start().await;
    second.store("t", &version(2)).await;
    assert_eq!(
        model(&second.resolve(&plain("t")).await.expect(200).json),
        "m2"
    );
}

#[tokio::test]
async fn a_socket_that_is_answered_on_is_left_alone() {
    let (_folder, path, address) = place();
    let app = on(&address).start().await;
    refused(&address, &[&address, "answers there already"]).await;
    assert!(is_socket(&path));
    app.wait_ready().await;
    // Also one of somebody else.
    let (_folder, path, address) = place();
    let _other = UnixListener::bind(&path).expect("a socket");
    refused(&address, &["answers there already"]).await;
    assert!(is_socket(&path));
}

#[tokio::test]
async fn what_can_be_no_socket_is_refused() {
    let (folder, path, address) = place();
    std::fs::write(&path, "data").expect("a file");
    refused(&address, &[&address, "no socket"]).await;
    assert_eq!(std::fs::read(&path).expect("the file"), b"data");
    let missing = format!("unix:{}/missing/s", folder.path().display());
    refused(&missing, &["no folder"]).await;
    let long = format!("unix:{}/{}", folder.path().display(), "x".repeat(108));
    refused(&long, &["at most 107 bytes"]).await;
    refused("unix:ordain.sock", &["begin with /"]).await;
    refused("unix:", &["begin with /"]).await;
}

#[tokio::test]
async fn one_that_stops_leaves_the_socket_of_its_successor_alone() {
    let (_folder, path, address) = place();
    let mut first = on(&address).start().await;
    std::fs::remove_file(&path).expect("the socket");
    let second = on(&address).start().await;
    first.sigterm();
    first.wait_exit().await;
    assert!(is_socket(&path));
    let answers = || async {
        let reply = second.get("/healthz").await;
        holds(reply.status == 200, format!("{reply:?}"))
    };
    eventually("the successor answers", PATIENCE, answers).await;
}
