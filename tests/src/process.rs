//! The real binary as a child process: where it is, a scrubbed environment, its output kept, and
//! the certainty that it ends with the test process. Not for what it is told (`app`, `cli`).

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The folder of the build that this test executable belongs to: `target/debug`.
fn build_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let deps = test.parent().expect("an executable lies in a folder");
    if deps.ends_with("deps") {
        deps.parent().expect("deps has a parent").into()
    } else {
        deps.into()
    }
}

/// The `ordain` binary: `ORDAIN_BIN`, else the one of this build.
pub fn binary() -> PathBuf {
    let path = match std::env::var_os("ORDAIN_BIN") {
        Some(path) => PathBuf::from(path),
        None => build_folder().join("ordain"),
    };
    assert!(
        path.is_file(),
        "{} is missing, run: cargo build -p ordain-server",
        path.display()
    );
    path
}

/// The component file, beside the binary, where the binary itself looks for it.
pub fn component() -> PathBuf {
    let path = binary().with_file_name("ordain-policy.wasm");
    assert!(
        path.is_file(),
        "{} is missing, run: make guest",
        path.display()
    );
    path
}

/// True for variables that would change what the binary does.
pub fn is_ours(name: &str) -> bool {
    name == "DATABASE_URL"
        || name == "REDIS_URL"
        || name == "RUST_LOG"
        || name.starts_with("ORDAIN_")
}

/// Variables of this process that a child must not see.
pub fn scrubbed() -> Vec<String> {
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| is_ours(name))
        .collect()
}

/// Where children keep compiled code: one folder for all tests of a build, not the user's.
pub fn compiled_folder() -> PathBuf {
    build_folder().join("compiled-components")
}

/// Where children keep the key that seals it: not the user's either.
pub fn settings_folder() -> PathBuf {
    build_folder().join("settings-of-tests")
}

/// A folder without an `ordain.toml`, to run children in.
pub fn empty_folder() -> &'static Path {
    static FOLDER: std::sync::LazyLock<tempfile::TempDir> =
        std::sync::LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));
    FOLDER.path()
}

/// A running child in a process group of its own.
pub struct Process {
    child: Child,
    watchdog: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    name: String,
}

impl Process {
    /// Starts it and collects the lines of both of its outputs.
    pub fn start(mut command: Command, name: &str) -> Process {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().expect("the binary can be started");
        let watchdog = watchdog(child.id());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(collect(stdout, "out", lines.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(collect(stderr, "err", lines.clone()));
        }
        Process {
            child,
            watchdog,
            lines,
            readers,
            name: name.to_owned(),
        }
    }

    /// Everything that it printed so far; each line begins with `out ` or `err `.
    pub fn log(&self) -> String {
        self.lines
            .lock()
            .expect("no holder of the lock panics")
            .join("\n")
    }

    /// The rest of the first line on standard output that begins with `prefix`.
    pub fn printed(&self, prefix: &str) -> Option<String> {
        let lines = self.lines.lock().expect("no holder of the lock panics");
        lines
            .iter()
            .find_map(|line| Some(line.strip_prefix("out ")?.strip_prefix(prefix)?.to_owned()))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("a running child can be signalled");
    }

    pub async fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exited() {
                // Its outputs are closed now: what it said last is read before the log is.
                for reader in self.readers.drain(..) {
                    reader.join().expect("a reader does not panic");
                }
                return status;
            }
            assert!(
                start.elapsed() < deadline,
                "{} did not exit within {deadline:?}",
                self.name
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The watchdog first: afterwards the child's id may belong to someone else.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        if self.exited().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!(
                "---- log of {} ----\n{}\n---- end of log ----",
                self.name,
                self.log()
            );
        }
    }
}

/// Kills the process group of `pid` when this process ends in whatever way: the pipe to the
/// watchdog closes then. (A parent-death signal would follow the thread that started the child.)
fn watchdog(pid: u32) -> Child {
    Command::new("sh")
        .args(["-c", "read -r _; kill -9 -\"$0\"", &pid.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh can be started")
}

fn collect(
    stream: impl std::io::Read + Send + 'static,
    tag: &'static str,
    into: Arc<Mutex<Vec<String>>>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            let line = format!("{tag} {}", String::from_utf8_lossy(&line));
            into.lock()
                .expect("no holder of the lock panics")
                .push(line);
        }
    })
}
