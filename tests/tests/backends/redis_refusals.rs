//! Redis answers, and not what was asked for: it takes no writes, lacks commands or rights, has
//! become a replica, or turns us away.

use std::time::{Duration, Instant};

use ordain_store::redis::RedisFar;
use ordain_store::{FAR_HEADER, Far, FarError};
use ordain_tests::odd_redis::OddRedis;
use ordain_tests::proxy::{Proxy, Upstream};
use ordain_tests::services::{Redis, RedisOptions};

use crate::PATIENT;

pub fn connect(url: &str) -> RedisFar {
    RedisFar::connect(url, PATIENT).expect("a proper URL")
}

pub fn value(as_of: u64) -> Vec<u8> {
    let value = format!("o1{as_of:020}{:-<40}", "").into_bytes();
    assert_eq!(value.len(), FAR_HEADER);
    value
}

pub async fn put(far: &RedisFar, key: &str, as_of: u64) -> Result<bool, FarError> {
    far.put(key, &value(as_of), b"", PATIENT).await
}

pub async fn get(far: &RedisFar, key: &str) -> Result<Option<Vec<u8>>, FarError> {
    let values = far.get(&[key.to_owned()]).await?;
    Ok(values.into_iter().next().expect("one value"))
}

/// A put is refused with these words, and reads go on.
async fn refused(far: &RedisFar, key: &str, words: &str) {
    match put(far, key, 9).await {
        Err(FarError::Refused(said)) => {
            assert!(said.contains(words), "{words}: {said}");
            // Neither the script nor a value goes into a log.
            assert!(
                !said.contains("GETRANGE") && !said.contains("o10000"),
                "{said}"
            );
        }
        other => panic!("{words}: {other:?}"),
    }
    assert_eq!(get(far, key).await, Ok(Some(value(1))), "{words}");
}

#[tokio::test]
async fn each_refusal_of_a_real_server_has_its_own_words_and_reads_go_on() {
    let redis = Redis::start_told("--dbfilename nowhere.rdb --save 3600 1");
    let far = connect(&redis.tcp_url());
    assert_eq!(put(&far, "key", 1).await, Ok(true));
    let folder = redis.socket().with_file_name("nowhere.rdb");
    std::fs::create_dir(&folder).expect("the folder is ours");
    for (begin, words, end) in [
        (
            &["REPLICAOF 127.0.0.1 1"][..],
            "READONLY",
            &["REPLICAOF NO ONE"][..],
        ),
        (
            &[
                "CONFIG SET maxmemory 1",
                "CONFIG SET maxmemory-policy noeviction",
            ],
            "OOM",
            &["CONFIG SET maxmemory 0"],
        ),
        (
            &["CONFIG SET min-replicas-to-write 1"],
            "NOREPLICAS",
            &["CONFIG SET min-replicas-to-write 0"],
        ),
        (
            &["ACL SETUSER default -set"],
            "executing the script can't run",
            &["ACL SETUSER default +set"],
        ),
        (
            &["ACL SETUSER default resetkeys %R~*"],
            "NOPERM",
            &["ACL SETUSER default allkeys"],
        ),
    ] {
        for command in begin {
            redis.run(command);
        }
        refused(&far, "key", words).await;
        for command in end {
            redis.run(command);
        }
        assert_eq!(put(&far, "other", 1).await, Ok(true), "{words} is over");
        redis.run("DEL other");
    }

    // It cannot save, and by default takes nothing more then.
    redis.run("BGSAVE");
    let until = Instant::now() + PATIENT;
    while !redis
        .run("INFO persistence")
        .contains("rdb_last_bgsave_status:err")
    {
        assert!(Instant::now() < until, "it saves into a folder");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    refused(&far, "key", "MISCONF").await;
    redis.run("CONFIG SET stop-writes-on-bgsave-error no");
    assert_eq!(put(&far, "other", 1).await, Ok(true));
}

#[tokio::test]
async fn commands_that_a_server_lacks_are_named() {
    for command in ["EVAL", "EVALSHA", "SET", "GETRANGE"] {
        let redis = Redis::start_told(&format!("--rename-command {command} {command}-2"));
        let far = connect(&redis.tcp_url());
        let rest: String = String::from_utf8(value(1)).expect("ASCII");
        let set = if command == "SET" { "SET-2" } else { "SET" };
        redis.run(&format!("{set} key {rest}"));
        let words = match command {
            "EVAL" | "EVALSHA" => format!("unknown command '{command}'"),
            _ => format!("({} by the script)", command.to_lowercase()),
        };
        refused(&far, "key", &words).await;
        // Values are no text, and a server repeats what a command that it lacks was given.
        let mut raw = value(9);
        raw[30..].fill(0xff);
        for key in ["ordain:o1:t:policy", "key", ""] {
            match far.put(key, &raw, b"", PATIENT).await {
                Err(FarError::Refused(why)) => assert!(why.contains(&words), "{key}: {why}"),
                other => panic!("{command} {key}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_full_server_that_evicts_takes_values_without_an_error() {
    let redis = Redis::start_told("--maxmemory 3mb --maxmemory-policy allkeys-lru");
    let far = connect(&redis.tcp_url());
    let mut big = value(1);
    big.resize(64 * 1024, b'-');
    for number in 0..100 {
        let put = far.put(&format!("key-{number}"), &big, b"", PATIENT).await;
        assert_eq!(put, Ok(true), "{number}");
    }
    let evicted = redis.run("INFO stats");
    assert!(!evicted.contains("evicted_keys:0\r"), "{evicted}");
    // Which ones go is the server's choice, among a sample of its own.
    let mut there = 0;
    for number in 0..100 {
        let found = get(&far, &format!("key-{number}")).await;
        there += usize::from(found.expect("an answer").is_some());
    }
    assert!((1..100).contains(&there), "{there} of 100 are there");
}

#[tokio::test]
async fn puts_that_a_server_holds_up_hold_up_no_look_up() {
    let redis = Redis::start_told("--databases 1");
    let deadline = Duration::from_millis(300);
    let far = RedisFar::connect(&redis.tcp_url(), deadline).expect("a proper URL");
    assert_eq!(put(&far, "key", 1).await, Ok(true));
    redis.run("CLIENT PAUSE 100000 WRITE");
    for _ in 0..10 {
        assert!(put(&far, "key", 2).await.is_err());
        assert_eq!(get(&far, "key").await, Ok(Some(value(1))));
    }
    redis.run("CLIENT UNPAUSE");
    let until = Instant::now() + PATIENT;
    while put(&far, "key", 3).await.is_err() {
        assert!(Instant::now() < until, "puts do not go on");
    }
}

/// Two servers, the second one a replica of the first, behind a name that leads to the first.
async fn pair() -> (Redis, Redis, Proxy, String) {
    let first = Redis::start_told("--repl-diskless-sync-delay 0");
    let second = Redis::start_told(&format!("--replicaof 127.0.0.1 {}", first.port()));
    second.wait_following();
    let proxy = Proxy::start(upstream(&first)).await;
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    (first, second, proxy, url)
}

fn upstream(redis: &Redis) -> Upstream {
    Upstream::Tcp(format!("127.0.0.1:{}", redis.port()))
}

#[tokio::test]
async fn writes_go_to_the_new_primary_though_the_connection_to_the_old_one_lives_on() {
    let (first, second, proxy, url) = pair().await;
    let far = connect(&url);
    assert_eq!(put(&far, "key", 1).await, Ok(true));
    second.run("REPLICAOF NO ONE");
    first.run(&format!("REPLICAOF 127.0.0.1 {}", second.port()));
    // The name still leads to the old one: a new connection is no better, and reads go on.
    for _ in 0..10 {
        refused(&far, "key", "READONLY").await;
    }
    proxy.switch(upstream(&second));
    let until = Instant::now() + PATIENT;
    while put(&far, "key", 2).await != Ok(true) {
        assert!(Instant::now() < until, "writes still go to the old primary");
        get(&far, "key").await.expect("reads go on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(second.run("GET key").contains("o100000000000000000002"));
    // Look-ups follow, though the old one still answers them: it follows nobody any more.
    first.run("REPLICAOF 127.0.0.1 1");
    assert_eq!(put(&far, "key", 3).await, Ok(true));
    while get(&far, "key").await != Ok(Some(value(3))) {
        assert!(
            Instant::now() < until,
            "look-ups still go to the old primary"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_replica_that_does_not_answer_reads_either_is_left_for_the_new_primary() {
    let (first, second, proxy, url) = pair().await;
    first.run("CONFIG SET replica-serve-stale-data no");
    let far = connect(&url);
    assert_eq!(put(&far, "key", 1).await, Ok(true));
    second.run("REPLICAOF NO ONE");
    first.run("REPLICAOF 127.0.0.1 1");
    let said = get(&far, "key").await.expect_err("a lost replica");
    assert!(said.to_string().contains("MASTERDOWN"), "{said}");
    proxy.switch(upstream(&second));
    crate::until_far_answers(&far).await;
    let until = Instant::now() + PATIENT;
    while put(&far, "key", 2).await != Ok(true) {
        assert!(Instant::now() < until, "puts still go to the old primary");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_connection_that_was_ended_while_nobody_asked_costs_no_answer() {
    let redis = Redis::start_told("--databases 1");
    let far = connect(&redis.tcp_url());
    assert_eq!(put(&far, "key", 1).await, Ok(true));
    for round in 2..10 {
        redis.run("CLIENT KILL TYPE normal");
        assert_eq!(get(&far, "key").await, Ok(Some(value(round - 1))));
        assert_eq!(put(&far, "key", round).await, Ok(true));
    }
}

const EMPTY: &str = "$-1\r\n";

/// What an orderly server answers at first.
fn greeting(command: &[String]) -> Option<String> {
    match &*command[0] {
        "PING" => Some("+PONG\r\n".to_owned()),
        "AUTH" | "SELECT" => Some("+OK\r\n".to_owned()),
        _ => None,
    }
}

#[tokio::test]
async fn any_error_to_a_put_is_a_refusal_in_the_words_of_the_server() {
    for line in [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "EXECABORT Transaction discarded because of previous errors.",
        "CLUSTERDOWN Hash slot not served",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write",
        "ERR This instance is in maintenance",
        "FUTURE an error that nobody knows yet",
        "X",
    ] {
        let redis = OddRedis::start(move |_, command| {
            greeting(command).or_else(|| {
                let gets = command[0] == "GET";
                Some(if gets {
                    EMPTY.to_owned()
                } else {
                    format!("-{line}\r\n")
                })
            })
        })
        .await;
        let far = connect(&redis.url());
        let refused = Err(FarError::Refused(line.to_owned()));
        assert_eq!(put(&far, "key", 1).await, refused);
        assert_eq!(get(&far, "key").await, Ok(None), "{line}");
    }
    // Neither an error nor what belongs there.
    for reply in ["+OK\r\n", "$1\r\n1\r\n", "*0\r\n", "$-1\r\n"] {
        let answer = move |_: usize, command: &[String]| {
            greeting(command).or_else(|| Some(reply.to_owned()))
        };
        let redis = OddRedis::start(answer).await;
        let far = connect(&redis.url());
        let put = put(&far, "key", 1).await;
        assert!(matches!(put, Err(FarError::Refused(_))), "{reply}: {put:?}");
    }
}

#[tokio::test]
async fn a_login_that_is_lost_is_made_again_on_a_new_connection() {
    for lost in [
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair",
    ] {
        let redis = OddRedis::start(move |connection, command| {
            greeting(command).or_else(|| {
                // Of look-ups and of puts.
                let first = connection < 2;
                Some(if first {
                    format!("-{lost}\r\n")
                } else {
                    EMPTY.to_owned()
                })
            })
        })
        .await;
        let far = connect(&redis.url());
        let said = get(&far, "key").await.expect_err(lost);
        assert!(said.to_string().contains(lost), "{said}");
        crate::until_far_answers(&far).await;
        assert!(redis.connections() > 2);
    }
}

#[tokio::test]
async fn a_password_that_is_changed_at_run_time_is_an_error_until_it_is_changed_back() {
    let redis = Redis::start_with(RedisOptions {
        tcp: true,
        ..RedisOptions::default()
    });
    redis.run("ACL SETUSER app on >first-one ~* +@all");
    let url = redis
        .tcp_url()
        .replace("redis://", "redis://app:first-one@");
    let far = connect(&url);
    assert_eq!(put(&far, "key", 1).await, Ok(true));
    redis.run("ACL SETUSER app resetpass >second-one");
    // Connections that have logged in stay: Redis asks for nothing, until they are ended.
    redis.run("CLIENT KILL USER app");
    let until = Instant::now() + PATIENT;
    let said = loop {
        match get(&far, "key").await {
            Err(FarError::Unavailable(said)) if said.contains("WRONGPASS") => break said,
            other => assert!(Instant::now() < until, "{other:?}"),
        }
    };
    assert!(!said.contains("first-one"), "{said}");
    redis.run("ACL SETUSER app >first-one");
    crate::until_far_answers(&far).await;
    assert_eq!(get(&far, "key").await, Ok(Some(value(1))));
}

#[tokio::test]
async fn a_server_that_turns_us_away_is_quoted_and_no_password_is() {
    for line in [
        "-DENIED Redis is running in protected mode because protected mode is enabled.",
        "-ERR max number of clients reached",
    ] {
        let redis = OddRedis::start_rude(line).await;
        for url in [redis.url(), redis.url().replace("//", "//ann:s3cret@")] {
            let far = connect(&url);
            let said = get(&far, "key").await.expect_err(line).to_string();
            assert!(said.contains(&line[1..]), "{line}: {said}");
            assert!(!said.contains("TLS"), "{said}");
        }
    }
    // Servers that repeat what they do not understand.
    let redis =
        OddRedis::start(|_, command| Some(format!("-ERR what is {}\r\n", command.join(" ")))).await;
    let far = connect(&redis.url().replace("//", "//ann:s3cret@"));
    let said = get(&far, "key").await.expect_err("no login").to_string();
    assert!(
        said.contains("authentication failed") && !said.contains("s3cret"),
        "{said}"
    );

    let redis = Redis::start_told("--maxclients 2");
    let busy = redis::Client::open(redis.url()).expect("a proper URL");
    let busy = [(); 2].map(|()| busy.get_connection().expect("a place"));
    let far = connect(&redis.tcp_url());
    let said = get(&far, "key").await.expect_err("no place").to_string();
    assert!(said.contains("max number of clients"), "{said}");
    drop(busy);
    crate::until_far_answers(&far).await;
}

#[tokio::test]
async fn users_are_left_out_where_a_server_has_only_passwords() {
    let redis = OddRedis::start(|_, command| match command.len() {
        3 if command[0] == "AUTH" => {
            Some("-ERR wrong number of arguments for 'auth' command\r\n".to_owned())
        }
        _ => greeting(command).or_else(|| Some(EMPTY.to_owned())),
    })
    .await;
    let far = connect(&redis.url().replace("//", "//ann:s3cret@"));
    assert_eq!(get(&far, "key").await, Ok(None));
}

#[tokio::test]
async fn a_login_by_the_newer_protocol_is_a_login() {
    let redis = Redis::start_with(RedisOptions {
        tcp: true,
        password: Some("right-one".to_owned()),
        ..RedisOptions::default()
    });
    let far = connect(&format!("{}?protocol=3", redis.tcp_url()));
    assert_eq!(put(&far, "key", 1).await, Ok(true));
    assert_eq!(get(&far, "key").await, Ok(Some(value(1))));
    let wrong = redis.tcp_url().replace("right-one", "wrong-one");
    let far = connect(&format!("{wrong}?protocol=3"));
    let said = get(&far, "key")
        .await
        .expect_err("a wrong password")
        .to_string();
    assert!(said.contains("WRONGPASS"), "{said}");
}
