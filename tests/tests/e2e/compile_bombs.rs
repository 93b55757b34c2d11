//! Components that are made to be dear to compile: refused before or at a limit, and nobody waits
//! for them.

use std::time::{Duration, Instant};

use ordain_tests::app::App;
use ordain_tests::components::made;
use ordain_tests::components::{component as test_component, digest};
use ordain_tests::wait::{PATIENCE, eventually, holds};

use crate::support::components::{push, swap_to};
use crate::support::{plain, policy};

/// Longer than any compiler of ours may take.
const LIMIT: Duration = Duration::from_secs(200);

#[tokio::test]
async fn what_is_plainly_too_much_is_refused_before_it_is_compiled() {
    let app = App::memory().await;
    for (bytes, words) in [
        (made::with_locals(40_000), "40000 locals in one function"),
        (
            made::with_dear_functions(1, 1_000, 20_000),
            "bytes in one function",
        ),
        (
            made::with_name(5_000),
            "bytes in the name of an import or export",
        ),
    ] {
        let start = Instant::now();
        let refused = push(&app, &bytes, "").await;
        let refused = refused.problem(422, "component-refused");
        let detail = refused.json["detail"].as_str().unwrap_or_default();
        assert!(
            detail.contains("too much to compile") && detail.contains(words),
            "{words}: {detail}"
        );
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{words}: {:?}",
            start.elapsed()
        );
    }
}

#[tokio::test]
async fn a_compile_bomb_ends_at_a_limit_and_neither_pushes_nor_answers_wait_for_it() {
    let app = App::memory().await;
    app.store("acme", &policy("openai", "m")).await;
    // Each below what is refused at sight, and different from the other.
    let bombs = [20, 21].map(|functions| made::with_dear_functions(functions, 1_900, 4_000));
    let memory_before = resident(app.pid());
    let url = format!("{}/v1/component", app.base());
    let pushes = bombs.map(|bomb| {
        let call = patient()
            .put(&url)
            .header("content-type", "application/wasm");
        tokio::spawn(call.body(bomb).send())
    });
    let children = || async {
        let number = compilers(app.pid()).len();
        holds(number == 2, format!("{number} processes compile"))
    };
    eventually(
        "both are compiled, each in a process of its own",
        PATIENCE,
        children,
    )
    .await;
    // Two are at it: a third is told so, quickly.
    let start = Instant::now();
    let third = push(&app, &test_component("none"), "").await;
    third.problem(503, "busy");
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    // Whoever asks for decisions notices nothing.
    for _ in 0..50 {
        let start = Instant::now();
        app.resolve(&plain("acme")).await.expect(200);
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
    }
    for push in pushes {
        let reply = push.await.expect("no panic").expect("an answer");
        let (status, text) = (reply.status().as_u16(), reply.text().await.expect("a text"));
        // The deadline of the call comes first on a busy machine.
        let is_limit = status == 422 && text.contains("the most that a component may take");
        assert!(is_limit || status == 503, "{status}: {text}");
    }
    let none = || async {
        let left = compilers(app.pid());
        holds(left.is_empty(), format!("{left:?} still compile"))
    };
    eventually("all have ended", LIMIT, none).await;
    let grown = resident(app.pid()).saturating_sub(memory_before);
    assert!(
        grown < 200 << 20,
        "the service has grown by {} MiB",
        grown >> 20
    );
    // What is good goes on as ever.
    let good = test_component("none");
    swap_to(&app, &good).await;
    let answer = app.resolve(&plain("acme")).await.expect(200);
    assert_eq!(answer.json["provenance"]["component"], digest(&good));
}

#[tokio::test]
async fn a_process_that_compiles_knows_no_secret_and_is_the_first_to_go() {
    let app = App::builder()
        .dev()
        .env("ORDAIN_FAR_KEY", "s3cret-s3cret-s3cret")
        .start()
        .await;
    let client: ordain_tests::http::Client = (*app).clone();
    let bomb = made::with_dear_functions(22, 1_900, 4_000);
    let push =
        tokio::spawn(async move { client.call("PUT", "/v1/component").wasm(bomb).send().await });
    let found = || async { compilers(app.pid()).first().copied().ok_or("none compiles") };
    let compiler = eventually("a process compiles", PATIENCE, found).await;
    let read = |name: &str| {
        let path = format!("/proc/{compiler}/{name}");
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let limited = || async {
        let (score, limits) = (read("oom_score_adj"), read("limits"));
        let of_memory = limits
            .lines()
            .find(|line| line.starts_with("Max address space"));
        let is_limited = of_memory.is_some_and(|line| line.contains("2147483648"));
        holds(score.trim() == "1000" && is_limited, limits)
    };
    eventually("its limits hold", PATIENCE, limited).await;
    assert_eq!(read("environ"), "");
    // Another push has a place of its own.
    swap_to(&app, &test_component("none")).await;
    assert_eq!(compilers(app.pid()), [compiler], "it was not waited for");
    drop(app);
    push.abort();
    let gone = || async {
        let alive = std::path::Path::new(&format!("/proc/{compiler}/exe")).exists();
        holds(!alive, "it still runs")
    };
    eventually("it ends with the service", PATIENCE, gone).await;
}

/// A client that waits for as long as it takes.
fn patient() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    builder.timeout(LIMIT).build().expect("a client")
}

/// Processes that compile for this one.
fn compilers(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc")
        .expect("/proc is there")
        .flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_compiler = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let command = std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let of = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.split(' ').nth(1));
        of == Some(&*parent.to_string()) && command.contains("compile-for-parent")
    };
    ids.filter(is_compiler).collect()
}

/// Memory of a process, in bytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("a number") << 10
}
