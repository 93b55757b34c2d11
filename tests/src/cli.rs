//! One run of the command line: the real binary with a scrubbed environment, to its end.

use std::ffi::OsStr;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::process;
use crate::tokens;
use crate::wait::PATIENCE;

/// What it printed and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// `None`: killed by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    #[track_caller]
    pub fn expect(self, code: i32) -> Output {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Both outputs.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs `ordain ARGS`, with the token of an admin at hand.
pub async fn cli<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    cli_with(&[], args).await
}

/// Runs `ordain ARGS` with these variables.
pub async fn cli_with<S: AsRef<OsStr>>(
    env: &[(&str, &str)],
    args: impl IntoIterator<Item = S>,
) -> Output {
    run(env, args, b"").await
}

/// Runs `ordain ARGS` with this standard input.
pub async fn cli_input<S: AsRef<OsStr>>(input: &str, args: impl IntoIterator<Item = S>) -> Output {
    run(&[], args, input.as_bytes()).await
}

async fn run<S: AsRef<OsStr>>(
    env: &[(&str, &str)],
    args: impl IntoIterator<Item = S>,
    input: &[u8],
) -> Output {
    let mut command = tokio::process::Command::new(process::binary());
    for name in process::scrubbed() {
        command.env_remove(name);
    }
    command
        .env("ORDAIN_COMPONENT_CACHE", process::compiled_folder())
        .env("XDG_CONFIG_HOME", process::settings_folder())
        .env("ORDAIN_TOKEN", tokens::admin())
        .envs(env.iter().copied())
        .args(args)
        .current_dir(process::empty_folder());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().expect("the binary can be started");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    let feed = async move {
        // A command that does not read its input closes it; that is its right.
        let _ = stdin.write_all(input).await;
    };
    let both = async { tokio::join!(child.wait_with_output(), feed).0 };
    let ended = tokio::time::timeout(PATIENCE, both).await;
    let output = ended
        .expect("a command line ends")
        .expect("a child can be waited for");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}
