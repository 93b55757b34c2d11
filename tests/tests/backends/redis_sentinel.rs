//! Far on a primary that sentinels name, and what happens when they name another one.

use std::time::{Duration, Instant};

use ordain_store::redis::{Authorities, RedisFar};
use ordain_store::{FAR_HEADER, Far, FarError};
use ordain_tests::services::{SentinelOptions, Sentinels};

use crate::{PATIENT, far_contract, until_far_answers};

const DEADLINE: Duration = Duration::from_millis(400);
/// What this machine may add to a deadline when it is busy.
const SLACK: Duration = Duration::from_millis(250);
/// For sentinels to agree on a failover, and for us to follow.
const FAILOVER: Duration = Duration::from_secs(20);

fn connect(url: &str, deadline: Duration) -> RedisFar {
    RedisFar::connect(url, deadline).expect("a proper URL")
}

fn value(as_of: u64) -> Vec<u8> {
    let value = format!("o1{as_of:020}{:-<40}", "").into_bytes();
    assert_eq!(value.len(), FAR_HEADER);
    value
}

async fn error(far: &RedisFar) -> String {
    let answer = far.get(&["key".to_owned()]).await;
    answer.expect_err("an error").to_string()
}

/// Puts until it succeeds; every call is over when its deadline is.
async fn until_put(far: &RedisFar, key: &str, as_of: u64) {
    let until = Instant::now() + FAILOVER;
    loop {
        let start = Instant::now();
        let put = far.put(key, &value(as_of), b"", PATIENT).await;
        let took = start.elapsed();
        assert!(took < DEADLINE + SLACK, "{took:?}: {put:?}");
        match put {
            Ok(true) => return,
            other => assert!(start < until, "{key} is not taken: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Puts until values arrive at this server: the one before may take some until it is told.
async fn until_put_at(far: &RedisFar, sentinels: &Sentinels, server: usize, name: &str) {
    let until = Instant::now() + FAILOVER;
    for number in 0.. {
        let key = format!("{name}-{number}");
        until_put(far, &key, 1).await;
        if sentinels.servers[server].holds(&key) {
            return;
        }
        assert!(Instant::now() < until, "{key} went to the old primary");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn far_on_the_primary_that_sentinels_name_keeps_the_contract() {
    let sentinels = Sentinels::start();
    let far = connect(&sentinels.url(), PATIENT);
    let primary = &sentinels.servers[0];
    far_contract(&far, async |key, value| {
        let client = redis::Client::open(primary.url()).expect("a proper URL");
        let mut bare = client.get_connection().expect("Redis answers");
        let set = redis::cmd("SET").arg(key).arg(value).to_owned();
        set.exec(&mut bare).expect("planted");
    })
    .await;
    let described = far.describe();
    assert!(described.starts_with("redis primary mymaster by the sentinels at 127.0.0.1:"));

    // A sentinel that is gone or hangs does no harm, whichever it is.
    sentinels.kill_sentinel(0);
    until_far_answers(&connect(&sentinels.url(), PATIENT)).await;
    sentinels.freeze_sentinel(1);
    until_far_answers(&connect(&sentinels.url(), PATIENT)).await;

    // Who says the wrong thing is told so.
    let unknown = sentinels.url().replace("/mymaster", "/another");
    let said = error(&connect(&unknown, PATIENT)).await;
    assert!(said.contains("knows no primary named another"), "{said}");
    let server = primary.tcp_url().replace("redis://", "redis+sentinel://") + "/mymaster";
    let said = error(&connect(&server, PATIENT)).await;
    assert!(said.contains("unknown command 'SENTINEL'"), "{said}");
}

#[tokio::test]
async fn a_failover_by_order_and_one_by_death_are_followed() {
    let sentinels = Sentinels::start();
    let far = connect(&sentinels.url(), DEADLINE);
    until_put(&far, "before", 1).await;
    sentinels.fail_over();
    sentinels.wait_primary(1);
    until_put_at(&far, &sentinels, 1, "ordered").await;
    sentinels.servers[0].wait_following();

    sentinels.servers[1].stop();
    until_put_at(&far, &sentinels, 0, "died").await;
}

#[tokio::test]
async fn a_primary_that_hangs_and_a_sentinel_that_hangs_with_it_are_left() {
    let sentinels = Sentinels::start();
    let far = connect(&sentinels.url(), DEADLINE);
    until_put(&far, "before", 1).await;
    // Two sentinels are enough for a failover.
    sentinels.freeze_sentinel(0);
    sentinels.servers[0].freeze();
    until_put_at(&far, &sentinels, 1, "after").await;
    sentinels.servers[0].thaw();
    until_put_at(&far, &sentinels, 1, "later").await;
}

#[tokio::test]
async fn logins_of_servers_and_sentinels_are_told_apart() {
    let sentinels = Sentinels::start_with(SentinelOptions {
        password: Some("right-one".to_owned()),
        sentinel_password: Some("guard-one".to_owned()),
        tls: false,
    });
    let right = sentinels.url_with(":right-one@", "?sentinel_password=guard-one");
    let far = connect(&right, PATIENT);
    until_far_answers(&far).await;
    assert!(!far.describe().contains("one"), "{}", far.describe());
    let said = error(&connect(&sentinels.url_with(":right-one@", ""), PATIENT)).await;
    assert!(
        said.contains("sentinel 127.0.0.1:") && said.contains("NOAUTH"),
        "{said}"
    );
    for (login, query) in [
        (":wrong-one@", "?sentinel_password=guard-one"),
        (":right-one@", "?sentinel_password=wrong-one"),
    ] {
        let said = error(&connect(&sentinels.url_with(login, query), PATIENT)).await;
        let names = said.contains("sentinel 127.0.0.1");
        assert_eq!(names, query.contains("wrong"), "{said}");
        assert!(
            said.contains("WRONGPASS") && !said.contains("-one"),
            "{said}"
        );
    }

    // As few rights as documented.
    for number in 0..3 {
        sentinels.run_sentinel(number, &crate::redis_users::line("ACL SETUSER guard "));
    }
    let primary = &sentinels.servers[0];
    let line = crate::redis_users::line("ACL SETUSER ordain ");
    primary.run(&line);
    let query = "?sentinel_username=guard&sentinel_password=PASSWORD";
    let url = sentinels.url_with("ordain:PASSWORD@", query);
    let said = error(&connect(&url, PATIENT)).await;
    assert!(said.contains("NOPERM") && said.contains("'role'"), "{said}");
    primary.run(&crate::redis_users::line("ACL SETUSER ordain +role"));
    let far = connect(&url, PATIENT);
    let key = "ordain:o1:acme:policy";
    assert_eq!(far.put(key, &value(1), b"", PATIENT).await, Ok(true));
}

#[tokio::test]
async fn a_failover_is_followed_by_tls_as_well() {
    let sentinels = Sentinels::start_with(SentinelOptions {
        password: Some("right-one".to_owned()),
        sentinel_password: None,
        tls: true,
    });
    let file = sentinels.authority().file();
    let authorities = Authorities::from_file(&file).expect("a PEM file");
    let url = sentinels.url_with(":right-one@", "");
    let far = RedisFar::connect_believing(authorities, &url, DEADLINE).expect("a proper URL");
    assert!(far.uses_tls());
    until_put(&far, "before", 1).await;
    sentinels.fail_over();
    sentinels.wait_primary(1);
    until_put_at(&far, &sentinels, 1, "after").await;

    let strange = connect(&url, PATIENT).get(&["key".to_owned()]).await;
    let Err(FarError::Unavailable(said)) = strange else {
        panic!("an unknown authority is believed");
    };
    assert!(said.contains("no known authority"), "{said}");
}

#[tokio::test]
async fn a_server_that_is_cut_off_from_the_sentinels_is_left_though_it_answers() {
    let sentinels = Sentinels::start();
    let far = connect(&sentinels.url(), DEADLINE);
    until_put(&far, "before", 1).await;
    // They watch over another pair from now on, and nobody tells this one.
    let other = Sentinels::start();
    let port = other.servers[0].port();
    for number in 0..3 {
        sentinels.run_sentinel(number, "SENTINEL REMOVE mymaster");
        let watch = format!("SENTINEL MONITOR mymaster 127.0.0.1 {port} 2");
        sentinels.run_sentinel(number, &watch);
    }
    until_put_at(&far, &other, 0, "key").await;
}
