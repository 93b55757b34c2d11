//! Users of few rights: those in docs/operations.md are enough, and no right of theirs is one too
//! many.

use std::time::{Duration, Instant};

use ordain_store::{Far, FarError};
use ordain_tests::services::{Redis, RedisCluster};

use crate::PATIENT;
use crate::redis_refusals::{connect, get, put, value};

/// The line of docs/operations.md that begins so.
pub fn line(begins: &str) -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let text = std::fs::read_to_string(file).expect("the documentation");
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with(begins));
    let line = line.unwrap_or_else(|| panic!("{begins}... is not in docs/operations.md"));
    line.to_owned()
}

fn documented(begins: &str) -> Vec<String> {
    line(begins).split_whitespace().map(str::to_owned).collect()
}

/// What the line allows, one by one.
fn permissions(line: &[String]) -> Vec<String> {
    let allowed = line.iter().filter(|word| word.starts_with('+'));
    allowed.cloned().collect()
}

#[tokio::test]
async fn the_documented_user_is_enough_and_each_of_its_permissions_is_needed() {
    let redis = Redis::start_told("--databases 4");
    let line = documented("ACL SETUSER ordain ");
    let user = |line: &[String]| {
        redis.run("ACL DELUSER ordain");
        redis.run(&line.join(" "));
        redis.run("SCRIPT FLUSH");
        redis.run("ACL LOG RESET");
    };
    user(&line);
    let password = line.iter().find_map(|word| word.strip_prefix('>'));
    let login = format!("redis://ordain:{}@", password.expect("a password"));
    let url = redis.tcp_url().replace("redis://", &login);
    let key = "ordain:o1:acme:policy";
    let far = connect(&url);
    assert_eq!(put(&far, key, 1).await, Ok(true));
    assert_eq!(get(&far, key).await, Ok(Some(value(1))));
    // What it is not allowed is not tried either: whoever watches the log of refusals is not woken.
    assert_eq!(redis.run("ACL LOG"), "array([])");
    assert!(
        put(&far, "others:key", 1).await.is_err(),
        "of another program"
    );

    let allowed = permissions(&line);
    assert_eq!(allowed.len(), 5, "{allowed:?}");
    for (as_of, lacking) in (2..).zip(allowed) {
        let less: Vec<String> = line
            .iter()
            .filter(|word| **word != lacking)
            .cloned()
            .collect();
        user(&less);
        let far = connect(&url);
        let put = put(&far, key, as_of).await;
        let got = get(&far, key).await;
        let failed = if lacking == "+get" {
            got.err()
        } else {
            put.err()
        };
        let Some(FarError::Refused(words)) = failed else {
            panic!("{lacking} is not needed: {failed:?}");
        };
        let name = lacking.trim_start_matches('+');
        let named = [format!("'{name}'"), format!("({name} by the script)")];
        assert!(
            named.iter().any(|name| words.contains(name)),
            "{lacking}: {words}"
        );
    }

    // A database of its own takes one more.
    user(&line);
    let other = connect(&format!("{url}/3"));
    let error = other.get(&[key.to_owned()]).await.expect_err("no +select");
    assert!(
        error.to_string().contains("no database 3: NOPERM"),
        "{error}"
    );
    redis.run("ACL SETUSER ordain +select");
    let until = Instant::now() + PATIENT;
    while let Err(error) = get(&other, key).await {
        assert!(Instant::now() < until, "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(put(&other, key, 1).await, Ok(true));
}

#[tokio::test]
async fn the_documented_user_of_a_cluster_is_enough_and_each_of_its_permissions_is_needed() {
    let cluster = RedisCluster::start();
    let mut line = documented("ACL SETUSER ordain ");
    let further = documented("ACL SETUSER ordain +cluster|slots");
    line.extend(permissions(&further));
    let user = |line: &[String]| {
        for node in 0..3 {
            cluster.run(node, "ACL DELUSER ordain");
            cluster.run(node, &line.join(" "));
        }
    };
    user(&line);
    let password = line.iter().find_map(|word| word.strip_prefix('>'));
    let login = format!("redis+cluster://ordain:{}@", password.expect("a password"));
    let url = cluster.url().replace("redis+cluster://", &login);
    let key = format!("ordain:o1:{}:policy", cluster.key_of(0, "some"));
    let slot = cluster.slot(&key);
    let home = cluster.first_node_of(&key);
    let away = (home + 1) % 3;
    let far = connect(&url);
    // While its slot is on its way, a key that is there already is asked for in another manner.
    cluster.begin_move(slot, home, away);
    assert_eq!(put(&far, &key, 1).await, Ok(true));
    assert_eq!(get(&far, &key).await, Ok(Some(value(1))));
    for (lacking, words) in [("+asking", "NOPERM"), ("+cluster|slots", "cluster|slots")] {
        let less: Vec<String> = line
            .iter()
            .filter(|word| **word != lacking)
            .cloned()
            .collect();
        user(&less);
        let far = connect(&url);
        let error = get(&far, &key).await.expect_err(lacking).to_string();
        let followed = lacking == "+asking" && error.contains("from node to node");
        assert!(error.contains(words) || followed, "{lacking}: {error}");
    }
    assert_eq!(permissions(&further).len(), 2);
}
