//! The clients of a run: seeded random writers and readers. Each has random numbers of its own, so
//! that its choices do not depend on when the others' replies come. Not for faults (`faults`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::calls::{Caller, Form, Target};
use crate::record::{Condition, Recorder, Written};
use crate::sql;

/// Few, so that they are changed and read often; some would be mixed up by careless keys.
pub const TENANTS: [&str; 12] = [
    "t",
    "T",
    "t:policy",
    "t%3Apolicy",
    "{t}",
    "t ",
    "default",
    "ordain:o1:t",
    "policy",
    "été",
    "t/policy",
    "*",
];

/// What all clients of a run share.
pub struct Shared {
    pub seed: u64,
    pub recorder: Recorder,
    /// The instances, as they are now.
    pub targets: Vec<Mutex<Target>>,
    /// Where SQL goes, past every instance.
    pub database: Mutex<String>,
    pub stop: AtomicBool,
    tokens: Mutex<Tokens>,
}

/// Revisions that clients got and may demand.
#[derive(Default)]
struct Tokens {
    writes: HashMap<String, u64>,
    positions: Vec<u64>,
}

impl Shared {
    pub fn new(seed: u64, targets: Vec<Target>, database: String) -> Shared {
        Shared {
            seed,
            recorder: Recorder::start(),
            targets: targets.into_iter().map(Mutex::new).collect(),
            database: Mutex::new(database),
            stop: AtomicBool::new(false),
            tokens: Mutex::default(),
        }
    }

    pub fn target(&self, slot: usize) -> Target {
        let target = self.targets[slot].lock();
        target.expect("no holder of the lock panics").clone()
    }

    pub fn database(&self) -> String {
        let database = self.database.lock();
        database.expect("no holder of the lock panics").clone()
    }

    fn tokens<T>(&self, use_them: impl FnOnce(&mut Tokens) -> T) -> T {
        use_them(&mut self.tokens.lock().expect("no holder of the lock panics"))
    }
}

/// One client: a name, random numbers, and how many operations it has begun.
struct Client {
    shared: Arc<Shared>,
    random: StdRng,
    name: String,
    count: usize,
}

/// Starts all clients; they end after `stop` was set.
pub fn start(shared: &Arc<Shared>) -> Vec<tokio::task::JoinHandle<()>> {
    let mut tasks = readers(shared, shared.targets.len());
    for number in 0..2 {
        tasks.push(tokio::spawn(client(shared, "writer", number).write()));
    }
    tasks.push(tokio::spawn(client(shared, "psql", 0).edit()));
    tasks
}

/// Two for each of the first so many instances.
pub fn readers(shared: &Arc<Shared>, slots: usize) -> Vec<tokio::task::JoinHandle<()>> {
    (0..slots * 2)
        .map(|number| tokio::spawn(client(shared, "reader", number).read(number / 2)))
        .collect()
}

fn client(shared: &Arc<Shared>, kind: &str, number: usize) -> Client {
    let name = format!("{kind}-{number}");
    // Another stream for each name.
    let salt = name.bytes().fold(0_u64, |salt, byte| {
        salt.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
    });
    Client {
        shared: shared.clone(),
        random: StdRng::seed_from_u64(shared.seed ^ salt),
        name,
        count: 0,
    }
}

impl Client {
    fn goes_on(&self) -> bool {
        !self.shared.stop.load(Ordering::SeqCst)
    }

    async fn pause(&mut self, millis: std::ops::Range<u64>) {
        let millis = self.random.random_range(millis);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    fn tenant(&mut self) -> &'static str {
        // Half of everything goes to three of them.
        let among = if self.random.random_bool(0.5) {
            &TENANTS[..3]
        } else {
            &TENANTS[..]
        };
        among.choose(&mut self.random).expect("some tenants")
    }

    fn slot(&mut self) -> usize {
        self.random.random_range(0..self.shared.targets.len())
    }

    fn next_id(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.name, self.count)
    }

    fn caller<'a>(&mut self, shared: &'a Shared, slot: usize) -> Caller<'a> {
        Caller {
            recorder: &shared.recorder,
            target: shared.target(slot),
            id: self.next_id(),
        }
    }

    /// What to write: a model that names its tenant and its writer, or nothing.
    fn content(&mut self, tenant: &str) -> Option<String> {
        let put = self.random.random_bool(0.8);
        put.then(|| format!("{tenant} {}-{}", self.name, self.count + 1))
    }

    fn condition(&mut self, tenant: &str) -> Condition {
        match self.random.random_range(0..10) {
            0..6 => Condition::None,
            6 => Condition::Absent,
            _ => match self.shared.tokens(|t| t.writes.get(tenant).copied()) {
                Some(revision) => Condition::Revision(revision),
                None => Condition::None,
            },
        }
    }

    async fn write(mut self) {
        let shared = self.shared.clone();
        while self.goes_on() {
            self.pause(20..120).await;
            let (tenant, slot) = (self.tenant(), self.slot());
            let model = self.content(tenant);
            let mut condition = self.condition(tenant);
            if model.is_none() && condition == Condition::Absent {
                condition = Condition::None;
            }
            let (here, there) = (self.random.random_bool(0.5), self.random.random_bool(0.4));
            let elsewhere = self.slot();
            let caller = self.caller(&shared, slot);
            let written = caller.write(tenant, model.as_deref(), condition).await;
            let Written::At(revision) = written else {
                continue;
            };
            shared.tokens(|t| t.writes.insert(tenant.to_owned(), revision));
            if here {
                // Its own write, where it was made, with no token.
                let caller = self.caller(&shared, slot);
                let _ = caller.read(tenant, 0, Form::Resolve).await;
            }
            if there {
                // Its own write, anywhere, by its token.
                let caller = self.caller(&shared, elsewhere);
                let _ = caller.read(tenant, revision, Form::Resolve).await;
            }
        }
    }

    /// An operator who edits the tables by hand.
    async fn edit(mut self) {
        let shared = self.shared.clone();
        let mut connection = None;
        while self.goes_on() {
            self.pause(60..240).await;
            let tenant = self.tenant();
            let model = self.content(tenant);
            let edit = sql::Edit {
                id: self.next_id(),
                tenant,
                model: model.as_deref(),
            };
            let written = sql::edit(&shared, &mut connection, edit).await;
            if let Written::At(revision) = written {
                shared.tokens(|t| t.writes.insert(tenant.to_owned(), revision));
            }
        }
    }

    fn demand(&mut self, tenant: &str) -> u64 {
        let any = self.random.random_range(0..1 << 16);
        match self.random.random_range(0..10) {
            0..6 => 0,
            6..9 => {
                let write = self.shared.tokens(|t| t.writes.get(tenant).copied());
                write.unwrap_or(0)
            }
            _ => self.shared.tokens(|t| match t.positions.len() {
                0 => 0,
                many => t.positions[any % many],
            }),
        }
    }

    async fn read(mut self, slot: usize) {
        let shared = self.shared.clone();
        while self.goes_on() {
            self.pause(2..14).await;
            let (tenant, form) = (self.tenant(), self.random.random_range(0..20));
            let demand = self.demand(tenant);
            if form == 0 {
                let count = self.random.random_range(1..9);
                let items: Vec<(&str, u64)> = (0..count)
                    .map(|_| {
                        let tenant = self.tenant();
                        (tenant, self.demand(tenant))
                    })
                    .collect();
                self.caller(&shared, slot).batch(&items).await;
                continue;
            }
            let form = match form {
                1 => Form::Policy,
                2..5 => Form::Header,
                _ => Form::Resolve,
            };
            let caller = self.caller(&shared, slot);
            if let Ok(answer) = caller.read(tenant, demand, form).await {
                shared.tokens(|t| {
                    // The latest ones.
                    if t.positions.len() < 64 {
                        t.positions.push(answer.position);
                    } else {
                        t.positions[self.count % 64] = answer.position;
                    }
                });
            }
        }
    }
}
