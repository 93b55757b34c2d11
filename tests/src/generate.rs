//! Random policies and requests from small pools, so that they meet often, with ids that break
//! careless escaping. Valid by construction; broken records are written by hand in the tests.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

/// Ids that break careless escaping, comparing and special-casing.
pub const ODD_IDS: &[&str] = &[
    "default",
    "global",
    "*",
    ":",
    "/",
    "%",
    "%2F",
    "a/b",
    "a:b",
    "a%2Fb",
    "a b",
    " ",
    " a",
    "a ",
    "?",
    "#",
    "a?b=c&d",
    "\"",
    "'",
    "\\",
    "\\u0000",
    "{}",
    "{a}",
    "[0]",
    "~",
    "~0~1",
    "...",
    ".a",
    "-",
    "--help",
    "null",
    "true",
    "0",
    "é",
    "e\u{301}",
    "ß",
    "SS",
    "İ",
    "日本",
    "😀",
    "👩\u{200d}👩\u{200d}👧",
    "\u{202e}abc",
    "\u{feff}",
    "\u{2028}",
    "\u{10ffff}",
    "A",
    "a",
    "ordain:o1",
    "policy",
    "users",
    "..a",
    ";",
    "'; DROP TABLE policies; --",
    "$1",
    "+",
    "a+b",
    "%00",
    "%25",
    "try",
];

/// The longest id in code points, and longer still in bytes.
pub fn longest_id() -> String {
    "😀".repeat(256)
}

const PROVIDERS: &[&str] = &[
    "local",
    "openai",
    "groq",
    "vllm",
    "on prem",
    "a/b",
    "Local",
    "proveedor-ñ",
    "*",
    "😀",
];
const MODELS: &[&str] = &[
    "gpt-4o",
    "llama-3-8b",
    "m/1",
    "m",
    "*",
    "modèle",
    "gpt-4o-mini",
    "%2F",
    "😀",
];
const TASKS: &[&str] = &[
    "main-chat",
    "pii",
    "a/b",
    "*",
    "default",
    "tâche",
    "😀 \"x\"",
];
const USERS: &[&str] = &["ann", "bob", "a/b", "*", "default", "~1", "用户", "global"];
const MODES: &[&str] = &["enforce", "report-only", "off"];
const GLOBS: &[&str] = &[
    "*",
    "**",
    "openai/*",
    "*/gpt-4o",
    "local/*",
    "*l*",
    "Local/*",
    "*/m",
    "a/b/m",
    "a/*",
    "*-4o*",
    "groq/llama-3-8b",
    "*/*/*",
    "on prem/*",
    "*é*",
    "*😀",
    "openai/gpt-4o*",
    "*o*o*o*",
    "?",
    "openai/gpt-4?",
    "[a-z]/*",
    "/",
    "*/",
    "proveedor-ñ/modèle",
];

/// A source of random input that names its seed.
pub struct Generator {
    random: StdRng,
    pub seed: u64,
}

impl Generator {
    /// Seeded from `ORDAIN_TEST_SEED`, else from the clock. The seed is printed, and a failing
    /// test shows what it printed.
    pub fn new() -> Generator {
        let seed = match std::env::var("ORDAIN_TEST_SEED") {
            Ok(seed) => seed.parse().expect("ORDAIN_TEST_SEED is a number"),
            Err(_) => rand::random(),
        };
        println!("to repeat: ORDAIN_TEST_SEED={seed}");
        Generator {
            random: StdRng::seed_from_u64(seed),
            seed,
        }
    }

    fn maybe(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.random.random_range(0..limit)
    }

    fn one(&mut self, pool: &[&str]) -> String {
        (*pool.choose(&mut self.random).expect("no pool is empty")).to_owned()
    }

    /// Mostly from the pool, sometimes any odd id, rarely the longest.
    fn id(&mut self, pool: &[&str]) -> String {
        match self.random.random_range(0..40) {
            0..36 => self.one(pool),
            36..39 => self.one(ODD_IDS),
            _ => longest_id(),
        }
    }

    fn temperature(&mut self) -> Value {
        let plain = [
            json!(0),
            json!(0.0),
            json!(2),
            json!(2.0),
            json!(0.7),
            json!(1e-7),
            json!(1),
        ];
        match plain.choose(&mut self.random) {
            Some(value) if self.random.random_bool(0.5) => value.clone(),
            _ => json!(f64::from(self.random.random_range(0..=20_000)) / 10_000.0),
        }
    }

    fn max_tokens(&mut self) -> Value {
        let edges = [
            json!(1),
            json!(2048),
            json!(4_294_967_296_u64),
            json!(9_007_199_254_740_991_u64),
        ];
        edges
            .choose(&mut self.random)
            .cloned()
            .unwrap_or(Value::Null)
    }

    /// A valid policy record.
    pub fn record(&mut self) -> Value {
        let mut record = Map::new();
        record.insert("defaultProvider".into(), json!(self.id(PROVIDERS)));
        record.insert("defaultModel".into(), json!(self.id(MODELS)));
        if self.maybe(0.6) {
            let remote = self.maybe(0.5);
            record.insert("allowRemoteEgress".into(), json!(remote));
        }
        self.egress_fields(&mut record);
        if self.maybe(0.8) {
            let count = self.below(7);
            let tasks: Vec<Value> = (0..count).map(|_| self.task()).collect();
            record.insert("tasks".into(), json!(tasks));
        }
        if self.maybe(0.7) {
            let mut users = Map::new();
            for _ in 0..self.below(5) {
                let mut user = Map::new();
                self.egress_fields(&mut user);
                users.insert(self.id(USERS), Value::Object(user));
            }
            record.insert("userPolicies".into(), Value::Object(users));
        }
        if self.maybe(0.5) {
            let count = self.below(6);
            let globs: Vec<String> = (0..count).map(|_| self.one(GLOBS)).collect();
            record.insert("allowedModels".into(), json!(globs));
        }
        Value::Object(record)
    }

    fn egress_fields(&mut self, into: &mut Map<String, Value>) {
        if self.maybe(0.5) {
            into.insert("egressMode".into(), json!(self.one(MODES)));
        }
        if self.maybe(0.5) {
            let may = self.maybe(0.5);
            into.insert("allowOffMode".into(), json!(may));
        }
    }

    fn task(&mut self) -> Value {
        let mut task = Map::new();
        task.insert("task".into(), json!(self.id(TASKS)));
        task.insert("provider".into(), json!(self.id(PROVIDERS)));
        task.insert("model".into(), json!(self.id(MODELS)));
        self.parameters(&mut task);
        Value::Object(task)
    }

    fn parameters(&mut self, into: &mut Map<String, Value>) {
        if self.maybe(0.4) {
            let value = self.temperature();
            into.insert("temperature".into(), value);
        }
        if self.maybe(0.4) {
            let value = self.max_tokens();
            into.insert("maxTokens".into(), value);
        }
    }

    /// A valid request of this tenant.
    pub fn request(&mut self, tenant: &str) -> Value {
        let mut request = Map::new();
        request.insert("tenant".into(), json!(tenant));
        if self.maybe(0.7) {
            request.insert("user".into(), json!(self.id(USERS)));
        }
        if self.maybe(0.8) {
            request.insert("task".into(), json!(self.id(TASKS)));
        }
        if self.maybe(0.3) {
            request.insert("model".into(), json!(self.id(MODELS)));
        }
        self.parameters(&mut request);
        if self.maybe(0.4) {
            request.insert("egressMode".into(), json!(self.one(MODES)));
        }
        Value::Object(request)
    }

    /// Tenant ids, each once: all odd ones, the longest, and random ones up to `count`.
    pub fn tenants(&mut self, count: usize) -> Vec<String> {
        let mut tenants: Vec<String> = ODD_IDS.iter().map(|&id| id.to_owned()).collect();
        tenants.push(longest_id());
        let mut number = 0;
        while tenants.len() < count {
            let id = format!("{}{number}{}", self.one(ODD_IDS), self.one(ODD_IDS));
            number += 1;
            // Pieces may make a whole that is there already: `%`, 0 and `0` make `%00`.
            if !tenants.contains(&id) {
                tenants.push(id);
            }
        }
        tenants
    }
}

impl Default for Generator {
    fn default() -> Generator {
        Generator::new()
    }
}
