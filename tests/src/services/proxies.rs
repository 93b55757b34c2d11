//! nginx and haproxy in front of instances, as people run them. Each test has its own, on a free
//! port of the loopback address.

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::guard::{Guard, poll};
use super::redis::kill;
use super::{print_log, program};

/// A proxy that runs; it ends with the test.
pub struct Proxy {
    name: &'static str,
    guard: Guard,
    server: Child,
    port: u16,
}

/// nginx with connections kept alive to these servers (`http://ADDRESS`, or `unix:PATH`). `more`:
/// lines of its `location /`.
pub fn nginx(servers: &[&str], more: &str) -> Proxy {
    let port = free_port();
    let mut text = String::from("daemon off;\nmaster_process off;\nevents {}\n");
    text += "pid pid;\nhttp {\n  access_log off;\n";
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        text += &format!("  {kind}_temp_path {kind};\n");
    }
    text += "  upstream ordain {\n";
    for server in servers {
        let _ = writeln!(text, "    server {};", address(server));
    }
    text += "    keepalive 32;\n  }\n  server {\n";
    let _ = writeln!(text, "    listen 127.0.0.1:{port};");
    text += "    location / {\n      proxy_pass http://ordain;\n      proxy_http_version 1.1;\n";
    let _ = writeln!(text, "      proxy_set_header Connection \"\";\n{more}");
    text += "    }\n  }\n}\n";
    let arguments = |folder: &Path| {
        let path = |name: &str| folder.join(name).display().to_string();
        vec![
            "-p".to_owned(),
            format!("{}/", folder.display()),
            "-e".to_owned(),
            path("log"),
            "-c".to_owned(),
            path("conf"),
        ]
    };
    start("nginx", "nginx", &text, port, arguments)
}

/// haproxy that asks these servers (`http://ADDRESS`) every tenth of a second whether they are
/// ready, and gives them no requests when they are not. `options`: of each server; `more`: lines of
/// its backend.
pub fn haproxy(servers: &[&str], options: &str, more: &str) -> Proxy {
    let port = free_port();
    let mut text = format!(
        "defaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n  timeout server 30s\n  \
         timeout check 10s\n\
         frontend in\n  bind 127.0.0.1:{port}\n  default_backend ordain\n\
         backend ordain\n  option httpchk GET /readyz\n  http-check expect status 200\n{more}\n"
    );
    for (number, server) in servers.iter().enumerate() {
        let address = address(server);
        let check = "check inter 100ms fall 1 rise 1";
        let _ = writeln!(text, "  server s{number} {address} {check} {options}");
    }
    let arguments = |folder: &Path| {
        let conf = folder.join("conf").display().to_string();
        vec!["-db".to_owned(), "-f".to_owned(), conf]
    };
    start("haproxy", "haproxy", &text, port, arguments)
}

fn address(server: &str) -> &str {
    server.trim_start_matches("http://")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn start(
    name: &'static str,
    package: &str,
    configuration: &str,
    port: u16,
    arguments: impl Fn(&Path) -> Vec<String>,
) -> Proxy {
    let folder = tempfile::Builder::new()
        .prefix(&format!("ordain-{name}-"))
        .tempdir();
    let folder = folder.expect("a folder").keep();
    let guard = Guard::new(&folder, &folder.join("pid"));
    std::fs::write(folder.join("conf"), configuration).expect("the folder is ours");
    let said = std::fs::File::create(folder.join("said")).expect("the folder is ours");
    // Debian has servers where only root looks.
    let folders = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
    let mut server = Command::new(program(name, &folders, package))
        .args(arguments(&folder))
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(said.try_clone().expect("a file can be shared"))
        .stderr(said)
        .spawn()
        .unwrap_or_else(|error| panic!("{name} can be started: {error}"));
    std::fs::write(folder.join("pid"), server.id().to_string()).expect("the folder is ours");
    poll(name, || {
        let ended = server.try_wait().is_ok_and(|status| status.is_some());
        if ended {
            print_log(name, &folder.join("said"));
            print_log(name, &folder.join("log"));
        }
        assert!(!ended, "{name} does not start");
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    Proxy {
        name,
        guard,
        server,
        port,
    }
}

impl Proxy {
    /// `http://ADDRESS`
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_log(self.name, &self.guard.folder.join("said"));
            print_log(self.name, &self.guard.folder.join("log"));
        }
        kill(&mut self.server);
    }
}
