//! Files that cannot be run: `ordain serve` does not start with them, and says what is wrong.

use std::time::Instant;

use ordain_tests::app::App;
use ordain_tests::components::{component, made, write};
use ordain_tests::wait::PATIENCE;

/// It does not start, ends by itself, and says all of these.
async fn is_refused(name: &str, bytes: &[u8], says: &[&str]) {
    let _alone = super::ALONE.lock().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = write(folder.path(), name, bytes);
    let file = file.to_str().expect("a path in UTF-8");
    let start = Instant::now();
    let builder = App::builder().dev().arg("--component").arg(file);
    let (code, log) = tokio::time::timeout(PATIENCE, builder.refused())
        .await
        .unwrap_or_else(|_| panic!("{name}: serves, or never ends"));
    assert_eq!(code, Some(1), "{name}\n{log}");
    assert!(!log.contains("listening on"), "{name}\n{log}");
    assert!(!log.contains("panicked"), "{name}\n{log}");
    assert!(log.len() < 4000, "{name}: {} bytes\n{log}", log.len());
    for part in says.iter().chain([&file]) {
        assert!(log.contains(part), "{name} should say {part:?}\n{log}");
    }
    let took = start.elapsed();
    assert!(took.as_secs() < 10, "{name}: {took:?}");
}

#[tokio::test]
async fn files_that_are_no_component_are_refused() {
    let no = &["not a WebAssembly component"];
    is_refused("empty", &[], no).await;
    is_refused("truncated", &made::truncated(), no).await;
    is_refused("random", &made::random(1), no).await;
    is_refused("random-component", &made::random_component(2), no).await;
    is_refused("half-a-header", b"\0asm", no).await;
    is_refused(
        "core-module",
        &made::core_module(),
        &["component", "core module"],
    )
    .await;
    is_refused("html", b"<html>404</html>", no).await;
}

#[tokio::test]
async fn a_component_that_wants_more_than_the_world_grants_is_refused_and_the_import_named() {
    let extra =
        made::of_world_with(
            "interface extra { peek: func() -> u32; }",
            |file, text| match file {
                "world.wit" => {
                    text.replace("import settings;", "import settings;\n    import extra;")
                }
                _ => text,
            },
        );
    is_refused("extra", &extra, &["ordain:policy/extra@0.1.0"]).await;
    let wasi = made::of_world_with(
        "package wasi:clocks@0.2.0 { interface wall-clock { now: func() -> u64; } }",
        |file, text| match file {
            "world.wit" => text.replace(
                "import settings;",
                "import settings;\n    import wasi:clocks/wall-clock@0.2.0;",
            ),
            _ => text,
        },
    );
    is_refused("wasi", &wasi, &["wasi:clocks/wall-clock@0.2.0"]).await;
    // An interface that is granted, with a function that is not.
    let function = made::of_world(|file, text| match file {
        "clock.wit" => text.replace(
            "remaining-ms: func() -> u32;",
            "remaining-ms: func() -> u32;\n    sleep-ms: func(ms: u32);",
        ),
        _ => text,
    });
    is_refused(
        "function",
        &function,
        &["ordain:policy/clock@0.1.0", "sleep-ms"],
    )
    .await;
}

#[tokio::test]
async fn a_component_whose_types_differ_is_refused_and_the_function_named() {
    let import = made::of_world(|file, text| match file {
        "clock.wit" => text.replace(
            "remaining-ms: func() -> u32",
            "remaining-ms: func() -> string",
        ),
        _ => text,
    });
    is_refused(
        "import",
        &import,
        &["ordain:policy/clock@0.1.0", "remaining-ms"],
    )
    .await;
    let near = made::of_world(|file, text| match file {
        "near.wit" => text.replace("-> looked-up", "-> u64"),
        _ => text,
    });
    is_refused("near", &near, &["ordain:policy/near@0.1.0", "look-up"]).await;
    for (name, from, to) in [
        (
            "validate",
            "result<string, invalid>",
            "result<u32, invalid>",
        ),
        (
            "resolve",
            "-> result<decision, failure>",
            "-> result<string, failure>",
        ),
        (
            "resolve-batch",
            "-> list<result<decision, failure>>",
            "-> list<result<decision, string>>",
        ),
    ] {
        let export = made::of_world(|file, text| match file {
            "resolver.wit" => text.replace(from, to),
            _ => text,
        });
        is_refused(name, &export, &["ordain:policy/resolver@0.1.0", name]).await;
    }
}

#[tokio::test]
async fn a_component_that_lacks_an_export_is_refused_and_the_export_named() {
    let none = made::of_world(|file, text| match file {
        "world.wit" => text.replace("export resolver;", ""),
        _ => text,
    });
    is_refused("none", &none, &["ordain:policy/resolver@0.1.0"]).await;
    for function in ["resolve-batch", "validate"] {
        let without = made::of_world(|file, text| match file {
            "resolver.wit" => {
                let lines = text.lines().map(|line| {
                    let is_it = line.trim_start().starts_with(&format!("{function}: func"));
                    if is_it { "" } else { line }
                });
                lines.collect::<Vec<_>>().join("\n")
            }
            _ => text,
        });
        is_refused(function, &without, &[function]).await;
    }
}

#[tokio::test]
async fn a_component_of_another_version_is_refused_and_both_versions_named() {
    for version in ["0.2.0", "0.9.1", "1.0.0"] {
        let other =
            made::of_world(|_, text| text.replace("policy@0.1.0", &format!("policy@{version}")));
        is_refused("version", &other, &[version, "0.1.0"]).await;
    }
}

#[tokio::test]
async fn a_component_that_cannot_be_instantiated_is_refused_before_it_serves() {
    is_refused(
        "start-hangs",
        &made::start_hangs(),
        &["computed for too long"],
    )
    .await;
    is_refused("start-traps", &made::start_traps(), &["unreachable"]).await;
    // 128 MiB at once, and four gigabytes.
    is_refused("memory", &made::with_memory(2048), &["memory"]).await;
    is_refused("more-memory", &made::with_memory(65536), &["memory"]).await;
    is_refused("table", &made::with_table(100_000_000), &["table"]).await;
}

#[tokio::test]
async fn a_component_whose_every_call_fails_is_refused_before_it_serves() {
    let dummy = made::of_world(|_, text| text);
    is_refused("dummy", &dummy, &["unreachable"]).await;
    is_refused(
        "start-hang",
        &component("start-hang"),
        &["computed for too long"],
    )
    .await;
    is_refused("trap", &component("trap@always"), &[]).await;
}
