//! Components of another world than the host's: `ordain serve` does not start with them, and names
//! what does not fit.

use ordain_tests::components::made;

use super::Faults;

#[tokio::test]
async fn a_component_that_wants_more_than_the_world_grants_is_refused_and_the_import_named() {
    let mut faults = Faults::default();
    let extra =
        made::of_world_with(
            "interface extra { peek: func() -> u32; }",
            |file, text| match file {
                "imports.wit" => {
                    text.replace("import settings;", "import settings;\n    import extra;")
                }
                _ => text,
            },
        );
    faults
        .unless_refused("extra", &extra, &["ordain:host/extra@1.0.0"])
        .await;
    let wasi = made::of_world_with(
        "package wasi:clocks@0.2.0 { interface wall-clock { now: func() -> u64; } }",
        |file, text| match file {
            "imports.wit" => text.replace(
                "import settings;",
                "import settings;\n    import wasi:clocks/wall-clock@0.2.0;",
            ),
            _ => text,
        },
    );
    faults
        .unless_refused("wasi", &wasi, &["wasi:clocks/wall-clock@0.2.0"])
        .await;
    // An interface that is granted, with a function that is not.
    let function = made::of_world(|file, text| match file {
        "clock.wit" => text.replace(
            "remaining-ms: func() -> u32;",
            "remaining-ms: func() -> u32;\n    sleep-ms: func(ms: u32);",
        ),
        _ => text,
    });
    faults
        .unless_refused(
            "function",
            &function,
            &["ordain:host/clock@1.0.0", "sleep-ms"],
        )
        .await;
    faults.none();
}

#[tokio::test]
async fn a_component_whose_types_differ_is_refused_and_the_function_named() {
    let mut faults = Faults::default();
    let import = made::of_world(|file, text| match file {
        "clock.wit" => text.replace(
            "remaining-ms: func() -> u32",
            "remaining-ms: func() -> string",
        ),
        _ => text,
    });
    faults
        .unless_refused(
            "import",
            &import,
            &["ordain:host/clock@1.0.0", "remaining-ms"],
        )
        .await;
    let near = made::of_world(|file, text| match file {
        "near.wit" => text.replace("-> looked-up", "-> u64"),
        _ => text,
    });
    faults
        .unless_refused("near", &near, &["ordain:host/near@1.0.0", "look-up"])
        .await;
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
            "policy.wit" => text.replace(from, to),
            _ => text,
        });
        faults
            .unless_refused(name, &export, &["ordain:policy/policy@1.1.0", name])
            .await;
    }
    faults.none();
}

#[tokio::test]
async fn a_component_that_lacks_an_export_is_refused_and_the_export_named() {
    let mut faults = Faults::default();
    let none = made::of_world(|file, text| match file {
        "policy.wit" => text.replace("export policy;", ""),
        "config.wit" => text.replace("export config;", ""),
        _ => text,
    });
    faults
        .unless_refused("none", &none, &["ordain:policy/policy@1.1.0"])
        .await;
    for function in ["resolve-batch", "validate"] {
        let without = made::of_world(|file, text| match file {
            "policy.wit" => {
                let lines = text.lines().map(|line| {
                    let is_it = line.trim_start().starts_with(&format!("{function}: func"));
                    if is_it { "" } else { line }
                });
                lines.collect::<Vec<_>>().join("\n")
            }
            _ => text,
        });
        faults.unless_refused(function, &without, &[function]).await;
    }
    faults.none();
}

#[tokio::test]
async fn a_component_of_another_version_is_refused_and_both_versions_named() {
    let mut faults = Faults::default();
    for version in ["1.2.0", "9.9.1", "2.0.0"] {
        let other = made::of_world(|_, text| text.replace("1.1.0", version));
        faults
            .unless_refused("version", &other, &[version, "1.1.0"])
            .await;
    }
    faults.none();
}
