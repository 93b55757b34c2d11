//! Redis answers, and not what was asked for: it takes no writes, lacks commands or rights, has
//! become a replica, or turns us away.

use std::time::{Duration, Instant};

use ordain::backends::redis::RedisFar;
use ordain::backends::{FAR_HEADER, Far, FarError};
use ordain_tests::odd_redis::OddRedis;
use ordain_tests::proxy::{Proxy, Upstream};
use ordain_tests::services::{Redis, RedisCluster, RedisOptions};

use crate::PATIENT;

fn connect(url: &str) -> RedisFar {
    RedisFar::connect(url, PATIENT).expect("a proper URL")
}

fn value(as_of: u64) -> Vec<u8> {
    let value = format!("o1{as_of:020}{:-<40}", "").into_bytes();
    assert_eq!(value.len(), FAR_HEADER);
    value
}

async fn put(far: &RedisFar, key: &str, as_of: u64) -> Result<bool, FarError> {
    far.put(key, &value(as_of), b"", PATIENT).await
}

async fn get(far: &RedisFar, key: &str) -> Result<Option<Vec<u8>>, FarError> {
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
    let redis = Redis::start_told("--dbfilename nowhere.rdb");
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
    redis.run("CONFIG SET save 3600 1");
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
    assert!(get(&far, "key-99").await.expect("an answer").is_some());
    assert_eq!(get(&far, "key-0").await, Ok(None));
}

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
    assert_eq!(get(&far, "key").await, Ok(Some(value(2))));
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
    assert_eq!(put(&far, "key", 2).await, Ok(true));
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
                let first = connection == 0;
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
        assert_eq!(redis.connections(), 2);
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

    let redis = Redis::start_told("--maxclients 1");
    let busy = redis::Client::open(redis.url()).expect("a proper URL");
    let busy = busy.get_connection().expect("the only place");
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
