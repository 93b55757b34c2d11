//! A Redis Cluster for tests: three masters, each with a third of the slots, and a spare if wanted.
//! It takes two to three seconds to start, since nodes wait before they trust each other.

use std::process::Child;
use std::sync::{Mutex, PoisonError};

use rand::Rng;
use rustix::process::Signal;

use super::certificates::Authority;
use super::guard::{Guard, poll};
use super::print_log;
use super::redis::{LOCAL_NAMES, RedisOptions, kill, launch, new_folder, run};

/// A node that is silent for so long has failed, for the others.
const NODE_TIMEOUT: &str = "1000";
const SLOTS: usize = 16384;
const MASTERS: usize = 3;

#[derive(Default, Clone)]
pub struct ClusterOptions {
    pub password: Option<String>,
    pub tls: bool,
    /// One more node, number 3: a replica of node 0, to take its place.
    pub spare: bool,
}

pub struct RedisCluster {
    nodes: Vec<Node>,
    options: ClusterOptions,
    authority: Authority,
}

struct Node {
    guard: Guard,
    server: Mutex<Child>,
    port: u16,
    arguments: Vec<String>,
    password: Option<String>,
}

impl RedisCluster {
    pub fn start() -> RedisCluster {
        RedisCluster::start_with(ClusterOptions::default())
    }

    pub fn start_with(options: ClusterOptions) -> RedisCluster {
        let authority = Authority::new();
        let count = MASTERS + usize::from(options.spare);
        let nodes = (0..count).map(|_| Node::start(&options, &authority));
        let cluster = RedisCluster {
            nodes: nodes.collect(),
            options,
            authority,
        };
        for (number, node) in cluster.nodes.iter().enumerate() {
            let (first, after) = (number * SLOTS / MASTERS, (number + 1) * SLOTS / MASTERS);
            if number < MASTERS {
                node.run(&format!("CLUSTER ADDSLOTSRANGE {first} {}", after - 1));
            }
            // Else two nodes may claim to be the newest, and first have to settle that.
            node.run(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1));
        }
        for node in &cluster.nodes[1..] {
            cluster.nodes[0].run(&format!("CLUSTER MEET 127.0.0.1 {}", node.port));
        }
        cluster.wait_whole();
        if cluster.options.spare {
            let spare = &cluster.nodes[MASTERS];
            spare.run(&format!("CLUSTER REPLICATE {}", cluster.id(0)));
            poll("the spare to follow", || {
                spare.run("INFO replication").contains("link_status:up")
            });
            let known = || cluster.nodes[0].run("INFO replication");
            poll("the spare to be known", || known().contains("state=online"));
        }
        cluster
    }

    /// All nodes know all others, and all slots are served.
    fn wait_whole(&self) {
        let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
        poll("the cluster to be whole", || {
            self.nodes.iter().all(|node| {
                let info = node.run("CLUSTER INFO");
                info.contains("cluster_state:ok") && info.contains(&known)
            })
        });
    }

    /// With all masters as seeds.
    pub fn url(&self) -> String {
        self.url_of(&[0, 1, 2])
    }

    /// With these nodes as seeds.
    pub fn url_of(&self, seeds: &[usize]) -> String {
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        let login = match &self.options.password {
            Some(password) => format!(":{password}@"),
            None => String::new(),
        };
        let seeds: Vec<String> = seeds
            .iter()
            .map(|node| format!("127.0.0.1:{}", self.nodes[*node].port))
            .collect();
        format!("{scheme}+cluster://{login}{}", seeds.join(","))
    }

    /// Who has signed the certificates.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// It stands still: connections hang.
    pub fn freeze(&self, node: usize) {
        self.nodes[node].guard.signal(Signal::STOP);
    }

    pub fn thaw(&self, node: usize) {
        self.nodes[node].guard.signal(Signal::CONT);
    }

    /// It dies, with all values that it held.
    pub fn stop(&self, node: usize) {
        self.nodes[node].stop();
    }

    /// Starts again, empty, with the same address and slots; returns when it serves.
    pub fn restart(&self, node: usize) {
        self.nodes[node].restart();
        let node = &self.nodes[node];
        poll("the node to serve", || {
            node.run("CLUSTER INFO").contains("cluster_state:ok")
        });
    }

    /// All nodes, after all were stopped.
    pub fn restart_all(&self) {
        self.nodes.iter().for_each(Node::restart);
        self.wait_whole();
    }

    /// What a node answers to a command of plain words, as text.
    pub fn run(&self, node: usize, command: &str) -> String {
        self.nodes[node].run(command)
    }

    /// A connection to one node, as an operator with `redis-cli` would have it.
    pub fn connection(&self, node: usize) -> redis::Connection {
        let connection = self.nodes[node].client().get_connection();
        connection.expect("the node accepts connections")
    }

    fn id(&self, node: usize) -> String {
        self.run(node, "CLUSTER MYID")
    }

    pub fn slot(&self, key: &str) -> u16 {
        let mut question = redis::cmd("CLUSTER");
        question.arg("KEYSLOT").arg(key);
        let node = (0..self.nodes.len()).find(|node| self.nodes[*node].runs());
        let mut connection = self.connection(node.expect("a node that runs"));
        question.query(&mut connection).expect("a slot")
    }

    /// The node that was given the slot of this key at first.
    pub fn first_node_of(&self, key: &str) -> usize {
        let slot = usize::from(self.slot(key));
        (0..MASTERS)
            .find(|number| slot < (number + 1) * SLOTS / MASTERS)
            .expect("slots are below 16384")
    }

    /// A key of the kind that was given to this node at first.
    pub fn key_of(&self, node: usize, kind: &str) -> String {
        (0..)
            .map(|n| format!("{kind}-{n}"))
            .find(|key| self.first_node_of(key) == node)
            .expect("there is no end of keys")
    }

    /// Begins to move a slot: keys that its node lacks are asked for at the other one.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        self.run(
            to,
            &format!("CLUSTER SETSLOT {slot} IMPORTING {}", self.id(from)),
        );
        self.run(
            from,
            &format!("CLUSTER SETSLOT {slot} MIGRATING {}", self.id(to)),
        );
    }

    /// Moves the keys that the slot holds.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize) {
        let mut source = self.connection(from);
        let mut keys = redis::cmd("CLUSTER");
        keys.arg("GETKEYSINSLOT").arg(slot).arg(1000);
        let keys: Vec<String> = keys.query(&mut source).expect("keys");
        for key in keys {
            let mut command = redis::cmd("MIGRATE");
            command.arg("127.0.0.1").arg(self.nodes[to].port).arg(key);
            command.arg(0).arg(5000);
            if let Some(password) = &self.options.password {
                command.arg("AUTH").arg(password);
            }
            command.exec(&mut source).expect("moved");
        }
    }

    /// The slot is the other node's now, and the two know it; the third one will hear of it.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let command = format!("CLUSTER SETSLOT {slot} NODE {}", self.id(to));
        self.run(to, &command);
        self.run(from, &command);
    }
}

impl Node {
    fn start(options: &ClusterOptions, authority: &Authority) -> Node {
        let folder = new_folder();
        let guard = Guard::new(&folder, &folder.join("pid"));
        if options.tls {
            authority.certify(&LOCAL_NAMES, &folder);
        }
        let server = RedisOptions {
            password: options.password.clone(),
            tls: options.tls,
            tcp: true,
            ..RedisOptions::default()
        };
        for _ in 0..20 {
            // Nodes talk to each other on another port, 10000 above. Both are below those that
            // outgoing connections are given; somebody else's test may still have chosen the same.
            let port = rand::rng().random_range(12_000..22_000);
            let mut arguments = server.arguments(port, &folder);
            let mut say = |name: &str, value: &str| {
                arguments.extend([name, value].map(str::to_owned));
            };
            say("--cluster-enabled", "yes");
            say("--cluster-node-timeout", NODE_TIMEOUT);
            // As operators of caches have it: a node that is gone takes its own keys with it only.
            say("--cluster-require-full-coverage", "no");
            // A promoted spare is not promoted back, nor does a node go to another master.
            say("--cluster-allow-replica-migration", "no");
            say("--repl-diskless-sync-delay", "0");
            if options.tls {
                say("--tls-cluster", "yes");
                say("--tls-replication", "yes");
            }
            if let Ok(server) = launch(&guard, &arguments) {
                return Node {
                    guard,
                    server: Mutex::new(server),
                    port,
                    arguments,
                    password: options.password.clone(),
                };
            }
        }
        panic!("redis-server does not start as a node of a cluster");
    }

    fn restart(&self) {
        self.stop();
        let server = launch(&self.guard, &self.arguments).expect("a node that ran before");
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    fn stop(&self) {
        kill(&mut self.server.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn runs(&self) -> bool {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.try_wait().is_ok_and(|status| status.is_none())
    }

    fn client(&self) -> redis::Client {
        let socket = self.guard.folder.join("r.sock");
        let url = match &self.password {
            Some(password) => format!("redis+unix://{}?pass={password}", socket.display()),
            None => format!("redis+unix://{}", socket.display()),
        };
        redis::Client::open(url).expect("a proper URL")
    }

    fn run(&self, command: &str) -> String {
        run(&self.client(), command)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_log("redis", &self.guard.folder.join("log"));
        }
        self.stop();
    }
}
