//! Far over TLS: who is believed, and what is said of who is not.

use std::time::{Duration, Instant};

use ordain_store::redis::{Authorities, RedisFar};
use ordain_store::{Far, FarError};
use ordain_tests::services::{Authority, Redis, RedisOptions};

use crate::{PATIENT, far_contract, until_far_answers};

const LOCAL: [&str; 2] = ["localhost", "127.0.0.1"];

fn with_tls() -> Redis {
    Redis::start_with(RedisOptions {
        tls: true,
        ..RedisOptions::default()
    })
}

fn believing(authority: &Authority, url: &str, deadline: Duration) -> RedisFar {
    let authorities = Authorities::from_file(&authority.file()).expect("a PEM file");
    RedisFar::connect_believing(authorities, url, deadline).expect("a proper URL")
}

/// The cause for which far cannot be used. It is told long before the deadline.
async fn refusal(far: &RedisFar) -> String {
    let start = Instant::now();
    let answer = far.get(&["key".to_owned()]).await;
    assert!(start.elapsed() < PATIENT / 2, "took {:?}", start.elapsed());
    let Err(FarError::Unavailable(cause)) = answer else {
        panic!("not refused: {answer:?}");
    };
    cause
}

#[tokio::test]
async fn far_over_tls_keeps_the_contract() {
    let redis = Redis::start_with(RedisOptions {
        password: Some("s3cret".to_owned()),
        tls: true,
        ..RedisOptions::default()
    });
    let far = believing(redis.authority(), &redis.tls_url(), PATIENT);
    let bare = redis::Client::open(redis.url()).expect("a proper URL");
    let bare = bare.get_multiplexed_async_connection().await;
    let bare = bare.expect("Redis answers");
    far_contract(&far, async |key, value| {
        let mut bare = bare.clone();
        let set = redis::cmd("SET").arg(key).arg(value).to_owned();
        set.exec_async(&mut bare).await.expect("planted");
    })
    .await;
    assert!(!far.describe().contains("s3cret"), "{}", far.describe());

    // By name as well, and with a database.
    let url = redis.tls_url().replace("127.0.0.1", "localhost") + "/1";
    let far = believing(redis.authority(), &url, PATIENT);
    let key = ["contract:a".to_owned()];
    assert_eq!(far.get(&key).await, Ok(vec![None]), "another database");
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_refused_until_it_has_another_certificate() {
    let redis = Redis::start_with(RedisOptions {
        password: Some("s3cret".to_owned()),
        tls: true,
        ..RedisOptions::default()
    });
    let other = Authority::new();
    for far in [
        believing(&other, &redis.tls_url(), PATIENT),
        RedisFar::connect(&redis.tls_url(), PATIENT).expect("a proper URL"),
    ] {
        let cause = refusal(&far).await;
        assert!(cause.contains("signed by no known authority"), "{cause}");
        assert!(cause.contains("ORDAIN_REDIS_CA"), "{cause}");
        assert!(!cause.contains("s3cret"), "{cause}");
    }
    let far = believing(&other, &redis.tls_url(), PATIENT);
    refusal(&far).await;
    redis.restart_certified(&other, &LOCAL);
    until_far_answers(&far).await;
}

#[tokio::test]
async fn a_server_with_the_name_of_another_is_refused_until_it_has_its_own() {
    let redis = with_tls();
    redis.restart_certified(redis.authority(), &["elsewhere.example"]);
    let far = believing(redis.authority(), &redis.tls_url(), PATIENT);
    let cause = refusal(&far).await;
    assert!(cause.contains("not for the name 127.0.0.1"), "{cause}");
    redis.restart_certified(redis.authority(), &LOCAL);
    until_far_answers(&far).await;
}

#[tokio::test]
async fn tls_where_there_is_none_and_none_where_there_is_are_told() {
    let redis = with_tls();
    let plain_url = redis.tls_url().replace("rediss://", "redis://");
    let plain = RedisFar::connect(&plain_url, PATIENT).expect("a proper URL");
    let cause = refusal(&plain).await;
    assert!(cause.contains("rediss://"), "{cause}");

    redis.restart_as(&RedisOptions {
        tcp: true,
        ..RedisOptions::default()
    });
    until_far_answers(&plain).await;
    let far = believing(redis.authority(), &redis.tls_url(), PATIENT);
    let cause = refusal(&far).await;
    assert!(cause.contains("speak TLS"), "{cause}");

    redis.restart_empty();
    until_far_answers(&far).await;
    assert!(plain.get(&["key".to_owned()]).await.is_err());
}

#[tokio::test]
async fn a_server_with_tls_may_be_down_hang_and_die() {
    let redis = with_tls();
    redis.stop();
    let far = believing(
        redis.authority(),
        &redis.tls_url(),
        Duration::from_millis(50),
    );
    assert!(far.get(&["key".to_owned()]).await.is_err());
    redis.restart_empty();
    until_far_answers(&far).await;
    redis.freeze();
    for _ in 0..40 {
        let start = Instant::now();
        assert!(far.get(&["key".to_owned()]).await.is_err());
        let took = start.elapsed();
        assert!(took < Duration::from_millis(250), "took {took:?}");
    }
    redis.thaw();
    until_far_answers(&far).await;
    redis.restart_empty();
    until_far_answers(&far).await;
}

#[test]
fn a_file_of_authorities_is_usable_as_a_whole_or_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (Authority::new(), Authority::new());
    one.certify(&LOCAL, folder.path());
    let good = std::fs::read_to_string(one.file()).expect("a PEM file");
    let more = std::fs::read_to_string(two.file()).expect("a PEM file");
    let key = std::fs::read_to_string(folder.path().join("server.key")).expect("a key");
    let broken = good.replace("MII", "AAA");
    assert_ne!(broken, good);
    let file = folder.path().join("file.pem");
    for (content, reason) in [
        (String::new(), "holds no certificate"),
        ("\n".to_owned(), "holds no certificate"),
        ("nonsense".to_owned(), "holds no certificate"),
        (key, "holds no certificate"),
        (format!("{good}{broken}"), "certificate 2 in it is broken"),
        (good.replace("-----END", "END"), "is not PEM"),
    ] {
        std::fs::write(&file, &content).expect("the folder is ours");
        let error = Authorities::from_file(&file).err().expect(&content);
        assert!(error.to_string().contains(reason), "{content}: {error}");
    }
    for nowhere in [folder.path(), &folder.path().join("missing")] {
        let error = Authorities::from_file(nowhere).err().expect("no file");
        assert!(error.to_string().contains("cannot be read"), "{error}");
    }
    std::fs::write(&file, format!("Comments may stand here\n{good}{more}")).expect("written");
    assert!(Authorities::from_file(&file).is_ok());
}
