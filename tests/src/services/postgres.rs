//! A Postgres server for tests: on a socket, forgetful of power cuts, hence quick.

mod backup;
mod replica;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;

use super::guard::Guard;
use super::{print_log, program};

pub struct Postgres {
    guard: Guard,
    databases: AtomicU32,
}

impl Postgres {
    /// The one server of this test process. Take a `database()` of your own, and leave the server
    /// alone: others use it too.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Postgres::start)
    }

    /// A server of one's own, to be stopped and killed.
    pub fn start() -> Postgres {
        let postgres = Postgres::prepare();
        let mut initdb = postgres.command("initdb");
        initdb
            .arg("-D")
            .arg(postgres.data())
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8"]);
        run(initdb.args(["--no-sync", "--no-instructions", "--locale=C"]));
        postgres.launch();
        postgres
    }

    /// A folder for a server, and the certainty that both will be gone.
    fn prepare() -> Postgres {
        let folder = tempfile::Builder::new()
            .prefix("ordain-pg-")
            .tempdir()
            .expect("a folder")
            .keep();
        let guard = Guard::new(&folder, &folder.join("data/postmaster.pid"));
        if is_root() {
            // It refuses to run as root; its user must be able to enter the folder.
            run(Command::new("chmod").arg("755").arg(&folder));
            run(Command::new("chown").arg("postgres").arg(&folder));
        }
        Postgres {
            guard,
            databases: AtomicU32::new(0),
        }
    }

    /// URL of a new, empty database.
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url("postgres", &name)
    }

    pub fn url(&self, user: &str, database: &str) -> String {
        format!(
            "postgres://{user}@localhost/{database}?host={}",
            self.guard.folder.display()
        )
    }

    /// Where its socket is.
    pub fn folder(&self) -> &Path {
        &self.guard.folder
    }

    pub fn socket(&self) -> PathBuf {
        self.guard.folder.join(".s.PGSQL.5432")
    }

    /// Runs statements through psql as the superuser, as an operator would; returns what it prints.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let result = self.try_sql(database, sql);
        result.unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    /// As `sql`; the error is psql's.
    pub fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = self.command("psql");
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
        ]);
        psql.arg("-h")
            .arg(&self.guard.folder)
            .env("PGCLIENTENCODING", "UTF8")
            // As an operator has it, who looks at what Ordain keeps.
            .env("PGOPTIONS", "-c search_path=ordain,public");
        // By the pipe: an argument cannot be as long as a record.
        psql.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = psql.spawn().expect("psql runs");
        let mut input = child.stdin.take().expect("the input is a pipe");
        // If psql gave up before it read everything, its own words say why.
        let _ = input.write_all(sql.as_bytes());
        drop(input);
        let output = child.wait_with_output().expect("psql runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// All processes of the server stand still: connections hang.
    pub fn stop_signal(&self) {
        self.guard.signal(Signal::STOP);
    }

    /// They go on.
    pub fn cont(&self) {
        self.guard.signal(Signal::CONT);
    }

    /// All processes die at once.
    pub fn kill(&self) {
        self.guard.kill();
        let _ = std::fs::remove_file(self.guard.folder.join(".s.PGSQL.5432.lock"));
    }

    /// Starts again what was killed, or restarts what runs; all connections are lost either way.
    pub fn restart(&self) {
        self.kill();
        self.launch();
    }

    fn launch(&self) {
        let log = self.log();
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories='{}' -c fsync=off \
             -c shared_buffers=64MB -c max_connections=200 -c autovacuum=off",
            self.guard.folder.display()
        );
        let mut start = self.command("pg_ctl");
        start
            .arg("-D")
            .arg(self.data())
            .args(["-w", "-t", "60", "-s", "-l"])
            .arg(&log);
        start.args(["-o", &options, "start"]);
        // The server inherits them: a pipe would keep `cargo test | tail` waiting.
        let status = start
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
            print_log("postgres", &log);
            panic!("postgres does not start: {status:?}");
        }
    }

    fn data(&self) -> PathBuf {
        self.guard.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.guard.folder.join("log")
    }

    /// A program of Postgres, as the user that may run the server.
    fn command(&self, name: &str) -> Command {
        let file = program(name, &folders(), "postgresql");
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(file);
            command
        } else {
            Command::new(file)
        };
        command.current_dir(&self.guard.folder);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_log("postgres", &self.log());
        }
    }
}

/// Of all installed releases, the newest first.
fn folders() -> Vec<PathBuf> {
    let releases = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut releases: Vec<(u32, PathBuf)> = releases
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    releases.sort();
    releases
        .into_iter()
        .rev()
        .map(|(_, folder)| folder)
        .filter(|folder| is_server(folder))
        .collect()
}

/// Some releases may be there as clients only.
fn is_server(folder: &Path) -> bool {
    folder.join("initdb").is_file()
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(super) fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
