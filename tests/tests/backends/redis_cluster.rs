//! Far on a Redis Cluster, and what happens while nodes hang, die, come back or hand over.

use std::time::{Duration, Instant};

use futures::future::join_all;
use ordain_store::redis::{Authorities, RedisFar};
use ordain_store::{FAR_HEADER, Far, FarError};
use ordain_tests::services::{ClusterOptions, Redis, RedisCluster, RedisOptions};

use crate::{PATIENT, far_contract, until_far_answers};

/// Long enough for nodes that are in order: they write files while they serve, to a disk that may
/// be busy.
const DEADLINE: Duration = Duration::from_millis(400);
/// What this machine may add to a deadline when it is busy.
const SLACK: Duration = Duration::from_millis(250);
/// Longer than nodes take to notice that one of them is gone.
const WHILE: Duration = Duration::from_secs(3);

fn connect(cluster: &RedisCluster, deadline: Duration) -> RedisFar {
    RedisFar::connect(&cluster.url(), deadline).expect("a proper URL")
}

fn value(as_of: u64) -> Vec<u8> {
    let value = format!("o1{as_of:020}{:-<40}", "").into_bytes();
    assert_eq!(value.len(), FAR_HEADER);
    value
}

async fn contract(cluster: &RedisCluster, far: &RedisFar) {
    far_contract(far, async |key, value| {
        let mut node = cluster.connection(cluster.first_node_of(&key));
        let set = redis::cmd("SET").arg(key).arg(value).to_owned();
        set.exec(&mut node).expect("planted");
    })
    .await;
}

/// One call, which must be over when its deadline is.
async fn timed(far: &RedisFar, keys: &[&String]) -> Result<Vec<Option<Vec<u8>>>, FarError> {
    let keys: Vec<String> = keys.iter().map(|key| (*key).clone()).collect();
    let start = Instant::now();
    let answer = far.get(&keys).await;
    let took = start.elapsed();
    assert!(took < DEADLINE + SLACK, "{took:?}: {answer:?}");
    answer
}

async fn until_answered(far: &RedisFar, key: &String) {
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = timed(far, &[key]).await {
        assert!(Instant::now() < until, "{key} does not come back: {error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// One key of each node, with values.
async fn one_of_each(cluster: &RedisCluster, far: &RedisFar) -> [String; 3] {
    let keys = [0, 1, 2].map(|node| cluster.key_of(node, "some"));
    for key in &keys {
        until_answered(far, key).await;
        let put = async || far.put(key, &value(1), b"", PATIENT).await == Ok(true);
        let until = Instant::now() + PATIENT;
        while !put().await {
            assert!(Instant::now() < until, "{key} is not taken");
        }
    }
    keys
}

#[tokio::test]
async fn far_on_a_cluster_keeps_the_contract() {
    let cluster = RedisCluster::start();
    contract(&cluster, &connect(&cluster, PATIENT)).await;

    // One look-up may concern all nodes, in any order.
    let far = connect(&cluster, PATIENT);
    let keys: Vec<String> = (0..60).map(|n| format!("many-{}", n * 7 % 60)).collect();
    for (n, key) in (0..).zip(&keys) {
        if n % 3 != 0 {
            assert_eq!(far.put(key, &value(n), b"", PATIENT).await, Ok(true));
        }
    }
    let expected = (0..60).map(|n| (n % 3 != 0).then(|| value(n))).collect();
    assert_eq!(far.get(&keys).await, Ok(expected));

    // One seed is enough, and one that is not there does no harm.
    for seeds in [
        cluster.url_of(&[1]),
        cluster.url_of(&[2]).replace("//", "//127.0.0.1:1,"),
    ] {
        let far = RedisFar::connect(&seeds, PATIENT).expect("a proper URL");
        until_far_answers(&far).await;
        assert_eq!(far.get(&keys[1..2]).await, Ok(vec![Some(value(1))]));
    }

    // Who says the wrong thing is told the right one.
    let single = cluster.url_of(&[0]).replace("redis+cluster", "redis");
    let far = RedisFar::connect(&single, PATIENT).expect("a proper URL");
    let error = far.get(&keys).await.expect_err("keys of other nodes");
    assert!(error.to_string().contains("redis+cluster://"), "{error}");
    let redis = Redis::start_with(RedisOptions {
        tcp: true,
        ..RedisOptions::default()
    });
    let url = redis.tcp_url().replace("redis://", "redis+cluster://");
    let far = RedisFar::connect(&url, PATIENT).expect("a proper URL");
    let error = far.get(&keys).await.expect_err("no cluster");
    assert!(error.to_string().contains("cluster support"), "{error}");
}

#[tokio::test]
async fn far_on_a_cluster_with_tls_and_a_password_keeps_the_contract() {
    let cluster = RedisCluster::start_with(ClusterOptions {
        password: Some("right-one".to_owned()),
        tls: true,
        ..ClusterOptions::default()
    });
    let believing = |url: &str| {
        let file = cluster.authority().file();
        let authorities = Authorities::from_file(&file).expect("a PEM file");
        RedisFar::connect_believing(authorities, url, PATIENT).expect("a proper URL")
    };
    let far = believing(&cluster.url());
    contract(&cluster, &far).await;
    assert!(!far.describe().contains("right-one"), "{}", far.describe());

    let wrong = believing(&cluster.url().replace("right-one", "wrong-one"));
    let Err(FarError::Unavailable(error)) = wrong.get(&["key".to_owned()]).await else {
        panic!("a wrong password is let in");
    };
    assert!(!error.contains("wrong-one") && !error.is_empty(), "{error}");
    let strange = RedisFar::connect(&cluster.url(), PATIENT).expect("a proper URL");
    let error = strange.get(&["key".to_owned()]).await;
    let error = error.expect_err("an unknown authority").to_string();
    assert!(error.contains("no known authority"), "{error}");

    let keys = [0, 1, 2].map(|node| cluster.key_of(node, "some"));
    for node in 0..3 {
        cluster.run(node, "CONFIG SET requirepass wrong-one");
    }
    until_far_answers(&wrong).await;
    for key in keys {
        let until = Instant::now() + PATIENT;
        while let Err(error) = wrong.get(std::slice::from_ref(&key)).await {
            assert!(Instant::now() < until, "{key} does not come back: {error}");
        }
    }
}

#[tokio::test]
async fn a_hung_node_costs_its_own_keys_their_deadline_and_the_others_nothing() {
    let cluster = RedisCluster::start();
    let far = connect(&cluster, DEADLINE);
    let keys = one_of_each(&cluster, &far).await;
    cluster.freeze(2);
    let start = Instant::now();
    let (mut waited, mut told) = (0, 0);
    let mut moved = false;
    while start.elapsed() < WHILE {
        let gone = [&keys[2]];
        let hung = join_all((0..8).map(|_| timed(&far, &gone)));
        let others = async {
            for _ in 0..10 {
                for key in &keys[..2] {
                    assert_eq!(timed(&far, &[key]).await, Ok(vec![Some(value(1))]));
                }
            }
        };
        for answer in tokio::join!(hung, others).0 {
            match answer {
                Err(FarError::Late) => waited += 1,
                Err(FarError::Unavailable(_) | FarError::Refused(_)) => told += 1,
                Ok(found) => panic!("a frozen node answers: {found:?}"),
            }
        }
        assert!(timed(&far, &[&keys[0], &keys[2]]).await.is_err());
        assert!(far.fails_in_part());
        if !moved && start.elapsed() > WHILE / 2 {
            // Even if slots go from node to node meanwhile.
            moved = true;
            let slot = cluster.slot(&keys[0]);
            cluster.begin_move(slot, 0, 1);
            cluster.move_keys(slot, 0, 1);
            cluster.end_move(slot, 0, 1);
        }
    }
    assert!(moved && waited > 0, "waited {waited} times");
    assert!(told > waited, "nobody waits for a node known to be down");
    cluster.thaw(2);
    until_answered(&far, &keys[2]).await;
    assert_eq!(timed(&far, &[&keys[2]]).await, Ok(vec![Some(value(1))]));
}

#[tokio::test]
async fn a_killed_node_costs_its_own_keys_only_and_is_used_again() {
    let cluster = RedisCluster::start();
    let far = connect(&cluster, DEADLINE);
    let keys = one_of_each(&cluster, &far).await;
    cluster.stop(1);
    let start = Instant::now();
    while start.elapsed() < WHILE {
        for key in [&keys[0], &keys[2]] {
            assert_eq!(timed(&far, &[key]).await, Ok(vec![Some(value(1))]));
        }
        let gone = timed(&far, &[&keys[1]]).await;
        assert!(gone.is_err(), "a dead node answers: {gone:?}");
    }
    cluster.restart(1);
    until_answered(&far, &keys[1]).await;
    assert_eq!(
        timed(&far, &[&keys[1]]).await,
        Ok(vec![None]),
        "it is empty"
    );
    assert_eq!(far.put(&keys[1], &value(2), b"", PATIENT).await, Ok(true));
    assert_eq!(timed(&far, &[&keys[1]]).await, Ok(vec![Some(value(2))]));
}

#[tokio::test]
async fn a_cluster_may_be_down_at_first_and_come_later() {
    let cluster = RedisCluster::start();
    for node in 0..3 {
        cluster.stop(node);
    }
    let far = connect(&cluster, DEADLINE);
    let key = "key".to_owned();
    let until = Instant::now() + PATIENT;
    while timed(&far, &[&key]).await == Err(FarError::Late) {
        assert!(Instant::now() < until, "nobody says that it is down");
    }
    let start = Instant::now();
    for _ in 0..100 {
        let down = timed(&far, &[&key]).await;
        assert!(matches!(down, Err(FarError::Unavailable(_))), "{down:?}");
    }
    assert!(start.elapsed() < DEADLINE * 5, "callers wait in vain");
    assert!(!far.fails_in_part());
    cluster.restart_all();
    let keys = one_of_each(&cluster, &far).await;

    // All gone, and back once more.
    for node in 0..3 {
        cluster.stop(node);
    }
    for key in &keys {
        assert!(timed(&far, &[key]).await.is_err());
    }
    assert!(!far.fails_in_part());
    cluster.restart_all();
    for key in &keys {
        until_answered(&far, key).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_while_they_are_used_are_followed() {
    let cluster = RedisCluster::start();
    let far = connect(&cluster, PATIENT);
    // All in one slot.
    let home = cluster.key_of(0, "home");
    let keys: Vec<String> = (0..20).map(|n| format!("{n}-{{{home}}}")).collect();
    for key in &keys {
        assert_eq!(far.put(key, &value(1), b"", PATIENT).await, Ok(true));
    }
    let slot = cluster.slot(&keys[0]);
    let over = std::sync::atomic::AtomicBool::new(false);
    let readers = async {
        let mut reads = 0;
        while !over.load(std::sync::atomic::Ordering::Relaxed) {
            for some in keys.chunks(5) {
                assert_eq!(far.get(some).await, Ok(vec![Some(value(1)); 5]));
                reads += 1;
            }
            tokio::task::yield_now().await;
        }
        reads
    };
    let mover = async {
        let pause = || tokio::time::sleep(Duration::from_millis(50));
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            cluster.begin_move(slot, from, to);
            // What is not there yet is put where the slot goes, by a script new to that node.
            let new = format!("new-{to}-{{{home}}}");
            assert_eq!(far.put(&new, &value(2), b"", PATIENT).await, Ok(true));
            assert_eq!(far.get(&[new]).await, Ok(vec![Some(value(2))]));
            pause().await;
            cluster.move_keys(slot, from, to);
            pause().await;
            cluster.end_move(slot, from, to);
            pause().await;
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (reads, ()) = tokio::join!(readers, mover);
    assert!(reads > 20, "{reads} reads");
}

#[tokio::test]
async fn a_spare_that_takes_over_is_followed() {
    let cluster = RedisCluster::start_with(ClusterOptions {
        spare: true,
        ..ClusterOptions::default()
    });
    let far = connect(&cluster, DEADLINE);
    let keys = one_of_each(&cluster, &far).await;
    cluster.stop(0);
    until_answered(&far, &keys[0]).await;
    let spare = cluster.run(3, "INFO replication");
    assert!(spare.contains("role:master"), "{spare}");
    let until = Instant::now() + PATIENT;
    // Each newer than the one before, the reply to which may have been late.
    let mut as_of = 9;
    while far.put(&keys[0], &value(as_of), b"", PATIENT).await != Ok(true) {
        assert!(Instant::now() < until, "the spare takes nothing");
        as_of += 1;
        // What finds the new node runs beside this, on the same thread.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(timed(&far, &[&keys[0]]).await, Ok(vec![Some(value(as_of))]));
}
