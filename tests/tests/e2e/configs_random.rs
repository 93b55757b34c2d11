//! Random writes of levels through two instances, compared with an independent reading of DESIGN
//! 4.5; and readers beside a writer, who must never see two states at once (rule R4).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use ordain_tests::app::{App, Builder};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use crate::support::Deployment;
use crate::support::configs::{Level, effective, oracle, set};

const TENANTS: [&str; 2] = ["acme", "globex"];
const USERS: [&str; 2] = ["ann", "bob/c"];

fn seed() -> u64 {
    let given = std::env::var("ORDAIN_SEED").ok();
    let seed = given.map_or_else(
        || rand::rng().random(),
        |text| text.parse().expect("a seed"),
    );
    println!("ORDAIN_SEED={seed}");
    seed
}

fn value(field: &str, rng: &mut StdRng) -> Value {
    match field {
        "mergeCompressionStrategy" => {
            json!(["none", "minimal", "moderate", "aggressive"][rng.random_range(0..4)])
        }
        "pathCompressionStrategy" => {
            json!(["none", "sliding_window", "semantic", "hybrid"][rng.random_range(0..4)])
        }
        "mergePreservePinned" | "autoCompactEnabled" => json!(rng.random_bool(0.5)),
        "pathCompressionThreshold" => json!(rng.random_range(0.0..1.0_f64)),
        _ => json!(rng.random_range(1..1000_u32)),
    }
}

fn random_patch(rng: &mut StdRng) -> Map<String, Value> {
    let fields = oracle(&[])["config"]
        .as_object()
        .expect("an object")
        .clone();
    let mut patch = Map::new();
    for field in fields.keys() {
        if rng.random_bool(0.3) {
            let clears = rng.random_bool(0.3);
            let value = if clears {
                Value::Null
            } else {
                value(field, rng)
            };
            patch.insert(field.clone(), value);
        }
    }
    patch
}

/// Levels that are there, with their revisions.
type Model<'a> = BTreeMap<Level<'a>, (Map<String, Value>, u64)>;

#[tokio::test]
async fn what_holds_after_random_writes_is_what_the_design_says() {
    let deployment = Deployment::start().await;
    let (one, two) = futures::join!(
        unhurried(&deployment, "one").start(),
        unhurried(&deployment, "two").start()
    );
    let apps = [one, two];
    let mut rng = StdRng::seed_from_u64(seed());
    let mut levels = vec![Level::Global];
    levels.extend(TENANTS.map(Level::Tenant));
    for tenant in TENANTS {
        levels.extend(USERS.map(|user| Level::User(tenant, user)));
    }
    let mut model = Model::new();
    for step in 0..150 {
        let level = levels[rng.random_range(0..levels.len())];
        let writer = rng.random_range(0..2_usize);
        let revision = write(&apps[writer], level, &mut model, &mut rng).await;
        for tenant in TENANTS {
            for user in [None, Some(USERS[0]), Some(USERS[1])] {
                // The other instance, which has to learn of it.
                let answer = effective(&apps[1 - writer], tenant, user, revision)
                    .await
                    .expect(200);
                compare(&answer.json, tenant, user, &model, step);
            }
        }
    }
}

async fn write<'a>(app: &App, level: Level<'a>, model: &mut Model<'a>, rng: &mut StdRng) -> u64 {
    if model.contains_key(&level) && rng.random_bool(0.2) {
        model.remove(&level);
        return app.delete(&level.path()).await.expect(200).revision();
    }
    let mut patch = random_patch(rng);
    if patch.is_empty() {
        patch.insert("pathMaxMessages".to_owned(), json!(5));
    }
    let revision = set(app, level, &Value::Object(patch.clone())).await;
    let (fields, at) = model.entry(level).or_default();
    *at = revision;
    for (field, value) in patch {
        match value {
            Value::Null => drop(fields.remove(&field)),
            value => drop(fields.insert(field, value)),
        }
    }
    revision
}

fn compare(answer: &Value, tenant: &str, user: Option<&str>, model: &Model<'_>, step: usize) {
    let mut names = vec![("global", Level::Global), ("tenant", Level::Tenant(tenant))];
    names.extend(user.map(|user| ("user", Level::User(tenant, user))));
    let there: Vec<_> = names
        .iter()
        .filter_map(|(name, level)| Some((*name, model.get(level)?)))
        .collect();
    let levels: Vec<_> = there
        .iter()
        .map(|(name, (fields, _))| (*name, fields))
        .collect();
    let expected = oracle(&levels);
    assert_eq!(
        answer["config"], expected["config"],
        "step {step}, {tenant} {user:?}"
    );
    assert_eq!(
        answer["levels"], expected["levels"],
        "step {step}, {tenant} {user:?}"
    );
    let newest = there.iter().map(|(_, (_, revision))| *revision).max();
    assert_eq!(
        answer["provenance"]["revision"],
        json!(newest),
        "step {step}, {tenant} {user:?}"
    );
}

/// What is judged is what is answered, not how busy this machine is.
fn unhurried(deployment: &Deployment, name: &str) -> Builder {
    let patient = deployment
        .patient(name)
        .env("ORDAIN_ORIGIN_DEADLINE", "10s");
    patient.env("ORDAIN_REQUEST_DEADLINE", "20s")
}

/// The global level always gets a number before the tenant's gets it: whoever sees the tenant's
/// with an older global one has seen two states.
async fn never_torn(env: &[(&str, &str)]) {
    let deployment = Deployment::start().await;
    let instance = |name: &str| {
        // What is judged is what is answered, not how busy this machine is.
        let patient = deployment
            .patient(name)
            .env("ORDAIN_ORIGIN_DEADLINE", "10s");
        let patient = patient.env("ORDAIN_REQUEST_DEADLINE", "20s");
        env.iter()
            .fold(patient, |builder, (name, value)| builder.env(name, value))
    };
    let (one, two) = futures::join!(instance("one").start(), instance("two").start());
    let stop = AtomicBool::new(false);
    let writing = async {
        for number in 2..100_u32 {
            set(&one, Level::Global, &json!({"mergeMaxMessages": number})).await;
            set(
                &one,
                Level::Tenant("a"),
                &json!({"pathMaxMessages": number}),
            )
            .await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let reading = |app: &'static str, client: &App, user: &'static str| {
        let client = (**client).clone();
        let stop = &stop;
        async move {
            let (mut reads, mut last) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let answer = effective(&client, "a", Some(user), 0)
                    .await
                    .expect(200)
                    .json;
                let number = |field: &str| answer["config"][field].as_u64().expect("a number");
                let (global, tenant) = (number("mergeMaxMessages"), number("pathMaxMessages"));
                // Before its first write each has its default, which is more than any number here.
                let (global, tenant) = (global % 100, tenant % 100);
                assert!(
                    global >= tenant,
                    "{app}: global {global}, tenant {tenant}: {answer}"
                );
                assert!(global >= last, "{app}: {global} after {last}");
                last = global;
                reads += 1;
            }
            reads
        }
    };
    let (_, a, b, c, d) = futures::join!(
        writing,
        reading("one", &one, "ann"),
        reading("one", &one, "bob"),
        reading("two", &two, "ann"),
        reading("two", &two, "carl"),
    );
    assert!(a + b + c + d > 200, "{a} {b} {c} {d}");
}

#[tokio::test]
async fn readers_beside_a_writer_never_see_two_states_at_once() {
    never_torn(&[]).await;
}

#[tokio::test]
async fn nor_do_they_without_near_or_without_any_cache() {
    never_torn(&[("ORDAIN_CACHE_NEAR", "off")]).await;
    never_torn(&[("ORDAIN_CACHE", "off")]).await;
}
