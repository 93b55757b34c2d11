//! A Redis server for tests, there in some 30 ms: each test has its own.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;

use super::guard::{Guard, poll};
use super::{print_log, program};

#[derive(Default, Clone)]
pub struct RedisOptions {
    pub password: Option<String>,
    /// Listen on a port of the loopback address, too.
    pub tcp: bool,
}

/// What a Redis held at some time.
pub struct Snapshot(PathBuf);

pub struct Redis {
    guard: Guard,
    server: Mutex<Child>,
    options: RedisOptions,
    port: u16,
    snapshots: AtomicU32,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::start_with(RedisOptions::default())
    }

    pub fn start_with(options: RedisOptions) -> Redis {
        let folder = tempfile::Builder::new()
            .prefix("ordain-redis-")
            .tempdir()
            .expect("a folder")
            .keep();
        let guard = Guard::new(&folder, &folder.join("pid"));
        let port = if options.tcp {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("an address").port()
        } else {
            0
        };
        let server = Mutex::new(launch(&guard, &options, port));
        Redis {
            guard,
            server,
            options,
            port,
            snapshots: AtomicU32::new(0),
        }
    }

    /// By the socket, with the password if there is one.
    pub fn url(&self) -> String {
        let socket = self.socket();
        match &self.options.password {
            Some(password) => format!("redis+unix://{}?pass={password}", socket.display()),
            None => format!("redis+unix://{}", socket.display()),
        }
    }

    /// By the port; only with `tcp`.
    pub fn tcp_url(&self) -> String {
        assert!(self.options.tcp, "this Redis was started without a port");
        match &self.options.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.guard.folder.join("r.sock")
    }

    /// It stands still: connections hang.
    pub fn freeze(&self) {
        self.guard.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.guard.signal(Signal::CONT);
    }

    /// It dies, with all that it held.
    pub fn stop(&self) {
        let mut server = self.server.lock().expect("no other test panicked here");
        // An error means that it is dead already.
        let _ = server.kill();
        server.wait().expect("the server can be waited for");
    }

    /// A copy of all that it holds now, for `restart_from`.
    pub fn snapshot(&self) -> Snapshot {
        let mut stream = UnixStream::connect(self.socket()).expect("redis accepts connections");
        let mut reply = [0; 5];
        stream.write_all(b"SAVE\r\n").expect("redis listens");
        stream.read_exact(&mut reply).expect("redis answers");
        assert_eq!(&reply, b"+OK\r\n", "SAVE");
        let number = self.snapshots.fetch_add(1, Ordering::Relaxed);
        let file = self.guard.folder.join(format!("snapshot-{number}.rdb"));
        // Out of the way of `restart_empty`: a server loads what it finds.
        std::fs::rename(self.dump(), &file).expect("the folder is ours");
        Snapshot(file)
    }

    /// Starts again at the same addresses with what it held when the snapshot was taken.
    pub fn restart_from(&self, snapshot: &Snapshot) {
        self.stop();
        std::fs::copy(&snapshot.0, self.dump()).expect("a snapshot can be copied");
        *self.server.lock().expect("no other test panicked here") =
            launch(&self.guard, &self.options, self.port);
        std::fs::remove_file(self.dump()).expect("the folder is ours");
    }

    fn dump(&self) -> PathBuf {
        self.guard.folder.join("dump.rdb")
    }

    /// Starts again, empty, at the same addresses.
    pub fn restart_empty(&self) {
        self.stop();
        *self.server.lock().expect("no other test panicked here") =
            launch(&self.guard, &self.options, self.port);
    }
}

fn launch(guard: &Guard, options: &RedisOptions, port: u16) -> Child {
    let folder = &guard.folder;
    let socket = folder.join("r.sock");
    let _ = std::fs::remove_file(&socket);
    let mut command = Command::new(program("redis-server", &[], "redis-server"));
    command.args([
        "--port",
        &port.to_string(),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    command
        .args([
            "--daemonize",
            "no",
            "--unixsocketperm",
            "700",
            "--unixsocket",
        ])
        .arg(&socket);
    command
        .arg("--dir")
        .arg(folder)
        .arg("--logfile")
        .arg(folder.join("log"));
    if let Some(password) = &options.password {
        command.args(["--requirepass", password]);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let server = command.spawn().expect("redis-server can be started");
    std::fs::write(folder.join("pid"), server.id().to_string()).expect("the folder is ours");
    poll("redis-server to answer", || answers(&socket));
    server
}

/// Any answer will do, also that a password is missing.
fn answers(socket: &PathBuf) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return false;
    };
    let mut reply = [0];
    stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut reply).is_ok()
        && matches!(&reply, b"+" | b"-")
}

impl Drop for Redis {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_log("redis", &self.guard.folder.join("log"));
        }
        self.stop();
    }
}
