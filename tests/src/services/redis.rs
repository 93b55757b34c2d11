//! A Redis server for tests, there in some 30 ms: each test has its own.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::Signal;

use super::certificates::Authority;
use super::guard::{Guard, poll};
use super::{print_log, program};

/// What certificates of servers say that these are: servers on the loopback address.
pub const LOCAL_NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

#[derive(Default, Clone)]
pub struct RedisOptions {
    pub password: Option<String>,
    /// Listen on a port of the loopback address, too.
    pub tcp: bool,
    /// The same, and that port takes nothing but TLS.
    pub tls: bool,
    /// What else redis-server is told, such as `--maxmemory 4mb`.
    pub further: Vec<String>,
}

/// What a Redis held at some time.
pub struct Snapshot(PathBuf);

pub struct Redis {
    guard: Guard,
    server: Mutex<Child>,
    options: RedisOptions,
    port: u16,
    authority: Arc<Authority>,
    snapshots: AtomicU32,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::start_with(RedisOptions::default())
    }

    pub fn start_with(options: RedisOptions) -> Redis {
        Redis::start_certified(options, &Arc::new(Authority::new()))
    }

    /// With a certificate of this authority, if it has TLS.
    pub fn start_certified(options: RedisOptions, authority: &Arc<Authority>) -> Redis {
        let folder = new_folder();
        let guard = Guard::new(&folder, &folder.join("pid"));
        let port = if options.tcp || options.tls {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("an address").port()
        } else {
            0
        };
        if options.tls {
            authority.certify(&LOCAL_NAMES, &folder);
        }
        let server = Mutex::new(launch_or_panic(&guard, &options.arguments(port, &folder)));
        Redis {
            guard,
            server,
            options,
            port,
            authority: authority.clone(),
            snapshots: AtomicU32::new(0),
        }
    }

    /// With a port, and told so much more, as words with blanks between them.
    pub fn start_told(further: &str) -> Redis {
        Redis::start_with(RedisOptions {
            tcp: true,
            further: further.split(' ').map(str::to_owned).collect(),
            ..RedisOptions::default()
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it answers to a command of plain words, as text, to an operator with all rights.
    pub fn run(&self, command: &str) -> String {
        run(&self.client(), command)
    }

    fn client(&self) -> redis::Client {
        redis::Client::open(self.url()).expect("a proper URL")
    }

    /// Whether there is a value under this key, and an answer.
    pub fn holds(&self, key: &str) -> bool {
        try_run(&self.client(), &format!("EXISTS {key}")).is_ok_and(|said| said == "1")
    }

    /// `master` or `slave`, if it answers.
    pub fn is(&self, role: &str) -> bool {
        let said = try_run(&self.client(), "INFO replication");
        said.is_ok_and(|said| said.contains(&format!("role:{role}")))
    }

    /// Whether it has come up as a replica, and follows.
    pub fn wait_following(&self) {
        poll("the replica to follow", || {
            let said = try_run(&self.client(), "INFO replication");
            said.is_ok_and(|said| said.contains("master_link_status:up"))
        });
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

    /// By the port, which takes TLS; only with `tls`.
    pub fn tls_url(&self) -> String {
        assert!(self.options.tls, "this Redis was started without TLS");
        match &self.options.password {
            Some(password) => format!("rediss://:{password}@127.0.0.1:{}", self.port),
            None => format!("rediss://127.0.0.1:{}", self.port),
        }
    }

    /// Who has signed the certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Starts again, empty, with a new certificate.
    pub fn restart_certified(&self, authority: &Authority, names: &[&str]) {
        authority.certify(names, &self.guard.folder);
        self.restart_empty();
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
        kill(&mut self.server.lock().unwrap_or_else(PoisonError::into_inner));
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
        self.launch_as(&self.options);
        std::fs::remove_file(self.dump()).expect("the folder is ours");
    }

    fn dump(&self) -> PathBuf {
        self.guard.folder.join("dump.rdb")
    }

    /// Starts again, empty, at the same addresses.
    pub fn restart_empty(&self) {
        self.restart_as(&self.options);
    }

    /// Starts again, empty, at the same addresses, otherwise as these options say.
    pub fn restart_as(&self, options: &RedisOptions) {
        self.stop();
        self.launch_as(options);
    }

    fn launch_as(&self, options: &RedisOptions) {
        let arguments = options.arguments(self.port, &self.guard.folder);
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) =
            launch_or_panic(&self.guard, &arguments);
    }
}

impl RedisOptions {
    /// What redis-server has to be told.
    pub(super) fn arguments(&self, port: u16, folder: &Path) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut say = |name: &str, value: &str| arguments.extend([name, value].map(str::to_owned));
        let (plain, tls) = if self.tls { (0, port) } else { (port, 0) };
        say("--port", &plain.to_string());
        if self.tls {
            let file = |name: &str| folder.join(name).display().to_string();
            say("--tls-port", &tls.to_string());
            say("--tls-cert-file", &file("server.pem"));
            say("--tls-key-file", &file("server.key"));
            say("--tls-ca-cert-file", &file("authority.pem"));
            say("--tls-auth-clients", "no");
        }
        if let Some(password) = &self.password {
            say("--requirepass", password);
            say("--masterauth", password);
        }
        arguments.extend(self.further.iter().cloned());
        arguments
    }
}

pub(super) fn new_folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("ordain-redis-").tempdir();
    folder.expect("a folder").keep()
}

/// What a server answers to a command of plain words, as text.
pub(super) fn run(client: &redis::Client, command: &str) -> String {
    try_run(client, command).unwrap_or_else(|error| panic!("{command}: {error}"))
}

/// For servers that may be gone, or end connections: sentinels have them do so at a failover.
pub(super) fn try_run(client: &redis::Client, command: &str) -> redis::RedisResult<String> {
    let mut connection = client.get_connection()?;
    let mut words = command.split(' ');
    let mut request = redis::cmd(words.next().expect("a command"));
    words.for_each(|word| {
        request.arg(word);
    });
    let reply: redis::Value = request.query(&mut connection)?;
    Ok(match redis::from_redis_value::<String>(reply.clone()) {
        Ok(text) => text,
        Err(_) => format!("{reply:?}"),
    })
}

pub(super) fn kill(server: &mut Child) {
    // An error means that it is dead already.
    let _ = server.kill();
    server.wait().expect("the server can be waited for");
}

fn launch_or_panic(guard: &Guard, arguments: &[String]) -> Child {
    launch(guard, arguments).unwrap_or_else(|said| panic!("redis-server does not start: {said}"))
}

/// Starts a server and waits until it answers; if it ends instead, what it said.
pub(super) fn launch(guard: &Guard, arguments: &[String]) -> Result<Child, String> {
    let folder = &guard.folder;
    let socket = folder.join("r.sock");
    let _ = std::fs::remove_file(&socket);
    let said = folder.join("said");
    let output = || std::fs::File::create(&said).expect("the folder is ours");
    let mut command = Command::new(program("redis-server", &[], "redis-server"));
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--daemonize", "no", "--unixsocketperm", "700"]);
    command.arg("--unixsocket").arg(&socket);
    command.arg("--dir").arg(folder);
    command.arg("--logfile").arg(folder.join("log"));
    command.args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output());
    let mut server = command.spawn().expect("redis-server can be started");
    std::fs::write(folder.join("pid"), server.id().to_string()).expect("the folder is ours");
    let mut ended = false;
    poll("redis-server to answer", || {
        ended = server.try_wait().is_ok_and(|status| status.is_some());
        ended || answers(&socket)
    });
    if !ended {
        return Ok(server);
    }
    let mut said = std::fs::read_to_string(&said).unwrap_or_default();
    if said.contains("tls-") && said.contains("Bad directive") {
        said += "\nThis redis-server is built without TLS; Debian's has it: apt-get install -y redis-server";
    }
    print_log("redis", &folder.join("log"));
    Err(said)
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
