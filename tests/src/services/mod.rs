//! Postgres, Redis, poolers and proxies for tests, started from the binaries of this machine on
//! sockets in a folder of their own. They die with the test process, however that ends. Beside them
//! an identity provider, within it.

mod certificates;
mod guard;
mod pgbouncer;
mod postgres;
mod provider;
mod proxies;
mod redis;
mod redis_cluster;
mod sentinels;

use std::path::{Path, PathBuf};

pub use self::certificates::Authority;
pub use self::pgbouncer::PgBouncer;
pub use self::postgres::Postgres;
pub use self::provider::{Answer, Provider};
pub use self::proxies::{Proxy, haproxy, nginx};
pub use self::redis::{Redis, RedisOptions, Snapshot};
pub use self::redis_cluster::{ClusterOptions, RedisCluster};
pub use self::sentinels::{SentinelOptions, Sentinels};

/// Finds a program, or says how to install it.
fn program(name: &str, folders: &[PathBuf], package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = folders.iter().cloned().chain(std::env::split_paths(&path));
    folders
        .find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()))
        .unwrap_or_else(|| panic!("{name} is not installed: apt-get install -y {package}"))
}

/// The end of a server's log, for whoever has to find out why a test failed.
fn print_log(name: &str, log: &Path) {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    eprintln!("--- {name}, last lines of {}", log.display());
    lines[lines.len().saturating_sub(40)..]
        .iter()
        .for_each(|line| eprintln!("{line}"));
}
