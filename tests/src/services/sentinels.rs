//! A primary and its replica, watched over by three sentinels, for tests. A failover takes them
//! about a second.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::Signal;

use super::certificates::Authority;
use super::guard::{Guard, poll};
use super::redis::{LOCAL_NAMES, Redis, RedisOptions, kill, new_folder, run};
use super::{print_log, program};

/// Under which the sentinels know the primary.
pub const NAME: &str = "mymaster";

#[derive(Default, Clone)]
pub struct SentinelOptions {
    /// Of the servers.
    pub password: Option<String>,
    /// Of the sentinels.
    pub sentinel_password: Option<String>,
    pub tls: bool,
}

pub struct Sentinels {
    /// Number 0 is the primary at first, the other one its replica.
    pub servers: [Redis; 2],
    sentinels: Vec<Sentinel>,
    options: SentinelOptions,
}

struct Sentinel {
    guard: Guard,
    process: Mutex<Child>,
    frozen: AtomicBool,
    /// Without TLS, for the test.
    plain: u16,
    /// For clients; the same unless there is TLS.
    port: u16,
    password: Option<String>,
}

impl Sentinels {
    pub fn start() -> Sentinels {
        Sentinels::start_with(SentinelOptions::default())
    }

    pub fn start_with(options: SentinelOptions) -> Sentinels {
        let authority = Arc::new(Authority::new());
        let first = Redis::start_certified(server_options(&options, None), &authority);
        let second =
            Redis::start_certified(server_options(&options, Some(first.port())), &authority);
        second.wait_following();
        let sentinels: Vec<Sentinel> = (0..3)
            .map(|_| Sentinel::start(&options, first.port(), &authority))
            .collect();
        let started = Sentinels {
            servers: [first, second],
            sentinels,
            options,
        };
        poll("the sentinels to know each other and the replica", || {
            started.sentinels.iter().all(|sentinel| {
                let known = sentinel.run("INFO sentinel");
                known.contains("slaves=1,sentinels=3") && known.contains("status=ok")
            })
        });
        started
    }

    /// With all sentinels.
    pub fn url(&self) -> String {
        self.url_with("", "")
    }

    /// With this login for the servers, as `user:password@`, and this query.
    pub fn url_with(&self, login: &str, query: &str) -> String {
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        let ports = self.sentinels.iter();
        let places: Vec<String> = ports.map(|at| format!("127.0.0.1:{}", at.port)).collect();
        format!(
            "{scheme}+sentinel://{login}{}/{NAME}{query}",
            places.join(",")
        )
    }

    pub fn authority(&self) -> &Authority {
        self.servers[0].authority()
    }

    /// Orders a failover, as an operator would.
    pub fn fail_over(&self) {
        self.sentinels[0].run(&format!("SENTINEL FAILOVER {NAME}"));
    }

    /// Waits until the sentinels name this server.
    pub fn wait_primary(&self, server: usize) {
        let port = self.servers[server].port().to_string();
        poll("the sentinels to name the new primary", || {
            let running = self.sentinels.iter().filter(|sentinel| sentinel.runs());
            let named: Vec<String> = running
                .map(|sentinel| sentinel.run(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {NAME}")))
                .collect();
            named.iter().all(|address| address.contains(&port)) && self.servers[server].is("master")
        });
    }

    /// It stands still: connections hang.
    pub fn freeze_sentinel(&self, number: usize) {
        let sentinel = &self.sentinels[number];
        sentinel.guard.signal(Signal::STOP);
        sentinel.frozen.store(true, Ordering::Relaxed);
    }

    pub fn kill_sentinel(&self, number: usize) {
        self.sentinels[number].stop();
    }

    /// What a sentinel answers to a command of plain words.
    pub fn run_sentinel(&self, number: usize, command: &str) -> String {
        self.sentinels[number].run(command)
    }
}

fn server_options(options: &SentinelOptions, primary: Option<u16>) -> RedisOptions {
    let mut further: Vec<String> = Vec::new();
    let mut say = |text: &str| further.extend(text.split(' ').map(str::to_owned));
    say("--repl-diskless-sync-delay 0");
    if options.tls {
        say("--tls-replication yes");
    }
    if let Some(port) = primary {
        say(&format!("--replicaof 127.0.0.1 {port}"));
    }
    RedisOptions {
        password: options.password.clone(),
        tcp: !options.tls,
        tls: options.tls,
        further,
    }
}

impl Sentinel {
    fn start(options: &SentinelOptions, primary: u16, authority: &Authority) -> Sentinel {
        let folder = new_folder();
        let guard = Guard::new(&folder, &folder.join("pid"));
        let plain = free_port();
        let mut lines = vec![
            format!("port {plain}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", folder.display()),
            format!("logfile {}", folder.join("log").display()),
            format!("sentinel monitor {NAME} 127.0.0.1 {primary} 2"),
            format!("sentinel down-after-milliseconds {NAME} 700"),
            format!("sentinel failover-timeout {NAME} 4000"),
        ];
        let mut port = plain;
        if options.tls {
            port = free_port();
            authority.certify(&LOCAL_NAMES, &folder);
            let file = |name: &str| folder.join(name).display().to_string();
            lines.extend([
                format!("tls-port {port}"),
                format!("tls-cert-file {}", file("server.pem")),
                format!("tls-key-file {}", file("server.key")),
                format!("tls-ca-cert-file {}", file("authority.pem")),
                "tls-auth-clients no".to_owned(),
                "tls-replication yes".to_owned(),
            ]);
        }
        if let Some(password) = &options.password {
            lines.push(format!("sentinel auth-pass {NAME} {password}"));
        }
        if let Some(password) = &options.sentinel_password {
            lines.push(format!("requirepass {password}"));
            lines.push(format!("sentinel sentinel-pass {password}"));
        }
        let file = folder.join("sentinel.conf");
        std::fs::write(&file, lines.join("\n") + "\n").expect("the folder is ours");
        let mut command = Command::new(program("redis-server", &[], "redis-server"));
        command.arg(&file).arg("--sentinel").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("redis-server can be started");
        std::fs::write(folder.join("pid"), process.id().to_string()).expect("the folder is ours");
        let sentinel = Sentinel {
            guard,
            process: Mutex::new(process),
            frozen: AtomicBool::new(false),
            plain,
            port,
            password: options.sentinel_password.clone(),
        };
        poll("a sentinel to answer", || {
            assert!(sentinel.runs(), "a sentinel does not start");
            sentinel.client().get_connection().is_ok()
        });
        sentinel
    }

    fn client(&self) -> redis::Client {
        let login = self.password.as_ref();
        let login = login.map_or(String::new(), |password| format!(":{password}@"));
        let url = format!("redis://{login}127.0.0.1:{}", self.plain);
        redis::Client::open(url).expect("a proper URL")
    }

    fn run(&self, command: &str) -> String {
        run(&self.client(), command)
    }

    /// Neither dead nor standing still.
    fn runs(&self) -> bool {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let lives = process.try_wait().is_ok_and(|status| status.is_none());
        lives && !self.frozen.load(Ordering::Relaxed)
    }

    fn stop(&self) {
        kill(&mut self.process.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_log("sentinel", &self.guard.folder.join("log"));
        }
        self.stop();
    }
}
