//! A running `ordain serve`: the real binary on a port of its own. Its log is shown if the test
//! fails, and it ends with the test.

use std::ops::Deref;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::http::Client;
use crate::process::{self, Process};
use crate::tokens;
use crate::wait::{PATIENCE, eventually};

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    env: Vec<(String, String)>,
    args: Vec<String>,
    listen: Option<String>,
    unready: bool,
    name: Option<String>,
    program: Option<std::path::PathBuf>,
    ulimit: Option<String>,
}

impl Builder {
    pub fn postgres(self, url: &str) -> Builder {
        self.env("DATABASE_URL", url)
    }

    pub fn redis(self, url: &str) -> Builder {
        self.env("REDIS_URL", url)
    }

    /// Memory origin, no authentication.
    pub fn dev(self) -> Builder {
        self.arg("--dev")
    }

    pub fn env(mut self, name: &str, value: &str) -> Builder {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn arg(mut self, arg: &str) -> Builder {
        self.args.push(arg.to_owned());
        self
    }

    /// Where it listens; a free port of 127.0.0.1 if nothing is said.
    pub fn listen(mut self, address: &str) -> Builder {
        self.listen = Some(address.to_owned());
        self
    }

    /// Its name in the log that a failing test shows.
    pub fn name(mut self, name: &str) -> Builder {
        self.name = Some(name.to_owned());
        self
    }

    /// Another program than the binary, which must become it.
    pub fn program(mut self, path: &std::path::Path) -> Builder {
        self.program = Some(path.to_owned());
        self
    }

    /// With other limits of the operating system, as the shell's `ulimit` takes them: `-n 128`.
    pub fn ulimit(mut self, limit: &str) -> Builder {
        self.ulimit = Some(limit.to_owned());
        self
    }

    /// Returns as soon as it listens, ready or not.
    pub fn unready(mut self) -> Builder {
        self.unready = true;
        self
    }

    fn command(&self) -> Command {
        let program = self.program.clone().unwrap_or_else(process::binary);
        let mut command = match &self.ulimit {
            None => Command::new(program),
            Some(limit) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
                shell.arg("-c").arg(script).arg(program);
                shell
            }
        };
        process::component();
        for name in process::scrubbed() {
            command.env_remove(name);
        }
        command.current_dir(process::empty_folder());
        command.env("ORDAIN_COMPONENT_CACHE", process::compiled_folder());
        command.env("XDG_CONFIG_HOME", process::settings_folder());
        let listen = self.listen.as_deref().unwrap_or("127.0.0.1:0");
        command.args(["serve", "--listen", listen]).args(&self.args);
        if !self.args.iter().any(|arg| arg == "--dev") {
            command.env("ORDAIN_JWT_HS256_SECRET", tokens::SECRET);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> App {
        let name = self.name.as_deref().unwrap_or("ordain serve");
        let mut process = Process::start(self.command(), name);
        let start = Instant::now();
        let base = loop {
            if let Some(base) = process.printed("listening on ") {
                break base;
            }
            if let Some(status) = process.exited() {
                panic!("ordain serve ended before it listened: {status}");
            }
            assert!(start.elapsed() < PATIENCE, "ordain serve does not listen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let app = App {
            process,
            client: Client::new(base.trim()),
        };
        if !self.unready {
            app.wait_ready().await;
        }
        app
    }

    /// Starts what should not start: its exit code and all that it printed. No code: it serves.
    pub async fn refused(self) -> (Option<i32>, String) {
        let mut process = Process::start(self.command(), "ordain serve, to be refused");
        let start = Instant::now();
        while process.exited().is_none() {
            if process.printed("listening on ").is_some() {
                return (None, process.log());
            }
            assert!(start.elapsed() < PATIENCE, "it neither serves nor ends");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = process.wait_exit(PATIENCE).await;
        let log = process.log();
        (status.code(), log)
    }
}

/// A running server; calls go through [`Client`], as an admin unless something else is said.
pub struct App {
    process: Process,
    client: Client,
}

impl Deref for App {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl App {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// In memory, for tests of what does not depend on a backend.
    pub async fn memory() -> App {
        App::builder().dev().start().await
    }

    pub async fn wait_ready(&self) {
        let ready = || async {
            let reply = self.get("/readyz").await;
            if reply.status == 200 {
                Ok(())
            } else {
                Err(reply)
            }
        };
        eventually("ready", PATIENCE, ready).await;
    }

    /// Its process, to look at from outside.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Bytes of memory that it occupies now.
    pub fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("the process lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok())
            .expect("the kernel says how much in kB")
            * 1024
    }

    /// As Ctrl-C on a terminal does.
    pub fn sigint(&self) {
        self.process.signal(Signal::INT);
    }

    pub fn sighup(&self) {
        self.process.signal(Signal::HUP);
    }

    pub fn sigterm(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Stops it without warning, as a crash would.
    pub fn sigkill(&self) {
        self.process.signal(Signal::KILL);
    }

    /// All its threads stand still, as on a machine that is suspended.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// They go on.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// The value of a metric: `name` or `name{label="value"}`, as it is written.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|rest| rest.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    pub async fn wait_exit(&mut self) -> ExitStatus {
        self.process.wait_exit(PATIENCE).await
    }
}
