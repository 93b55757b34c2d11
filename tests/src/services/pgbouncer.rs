//! A pgbouncer in front of a Postgres of a test, as Debian has it, on a socket of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::guard::{Guard, poll};
use super::postgres::{Postgres, is_root, run};
use super::{print_log, program};

pub struct PgBouncer {
    guard: Guard,
}

impl PgBouncer {
    /// `mode`: session, transaction or statement. `more`: lines of the section `[pgbouncer]`.
    pub fn start(postgres: &Postgres, mode: &str, more: &str) -> PgBouncer {
        let folder = tempfile::Builder::new()
            .prefix("ordain-pgb-")
            .tempdir()
            .expect("a folder")
            .keep();
        let bouncer = PgBouncer {
            guard: Guard::new(&folder, &folder.join("pid")),
        };
        let (shown, server) = (folder.display(), postgres.folder().display());
        let config = format!(
            "[databases]\n* = host={server} port=5432\n[pgbouncer]\nlisten_port = 6432\n\
             unix_socket_dir = {shown}\nlogfile = {shown}/log\npidfile = {shown}/pid\n\
             auth_type = trust\nauth_file = {shown}/users\npool_mode = {mode}\n{more}\n"
        );
        std::fs::write(folder.join("ini"), config).expect("written");
        let users = "\"postgres\" \"\"\n\"app\" \"\"\n\"other\" \"\"\n";
        std::fs::write(folder.join("users"), users).expect("written");
        let file = program("pgbouncer", &["/usr/sbin".into()], "pgbouncer");
        let mut command = if is_root() {
            // It refuses to run as root, too.
            run(Command::new("chmod").arg("755").arg(&folder));
            run(Command::new("chown").args(["-R", "postgres"]).arg(&folder));
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(file);
            command
        } else {
            Command::new(file)
        };
        command.args(["-q", "-d"]).arg(folder.join("ini"));
        let status = command
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
            print_log("pgbouncer", &bouncer.log());
            panic!("pgbouncer does not start: {status:?}");
        }
        poll("pgbouncer to listen", || {
            std::os::unix::net::UnixStream::connect(folder.join(".s.PGSQL.6432")).is_ok()
        });
        bouncer
    }

    pub fn url(&self, user: &str, database: &str) -> String {
        let folder = self.guard.folder.display();
        format!("postgres://{user}@localhost/{database}?host={folder}&port=6432")
    }

    fn log(&self) -> PathBuf {
        self.guard.folder.join("log")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_log("pgbouncer", &self.log());
        }
    }
}
