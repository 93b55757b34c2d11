//! What is never let in, and why: each refusal says what is wrong, and what runs goes on. (Files
//! that a start refuses: `hostile/files`.)

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ordain_tests::app::App;
use ordain_tests::cli::{cli, cli_with};
use ordain_tests::components::{component as test_component, digest, real, write};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::support::components::{component, push, report, swap_to};
use crate::support::{plain, policy};

fn pair(seed: u8) -> (Ed25519KeyPair, String) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed");
    let public = STANDARD.encode(pair.public_key().as_ref());
    (pair, public)
}

#[tokio::test]
async fn refused_bytes_leave_everything_as_it_was() {
    let app = App::memory().await;
    app.store("acme", &policy("openai", "m")).await;
    let good = test_component("none");
    swap_to(&app, &good).await;
    let before = report(&app).await;
    let cut = &good[..good.len() / 2];
    let module = b"\0asm\x01\0\0\0";
    let vectors = test_component("model:wrong@always");
    for (bytes, words) in [
        (&b""[..], "not a WebAssembly component"),
        (b"#!/bin/sh", "not a WebAssembly component"),
        (module, "core module"),
        (cut, "not a WebAssembly component"),
        (&vectors, "decision vectors otherwise"),
        (&test_component("trap@always"), "the component failed"),
        (&test_component("hang@always"), "computed for too long"),
    ] {
        for query in ["", "?promote=true"] {
            let refused = push(&app, bytes, query)
                .await
                .problem(422, "component-refused");
            let detail = refused.json["detail"].as_str().unwrap_or_default();
            assert!(detail.contains(words), "{words}: {detail}");
        }
    }
    let large = vec![0; (8 << 20) + 1];
    push(&app, &large, "").await.problem(413, "body-too-large");
    let after = report(&app).await;
    for member in ["digest", "fleet", "candidate", "since", "swaps"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    let answer = app.resolve(&plain("acme")).await.expect(200);
    assert_eq!(component(&answer.json), digest(&good));
}

#[tokio::test]
async fn every_vector_that_is_answered_otherwise_is_named() {
    let app = App::memory().await;
    let refused = push(&app, &test_component("model:wrong@always"), "")
        .await
        .problem(422, "component-refused");
    let errors = refused.json["errors"].as_array().expect("a list");
    let named = errors.iter().any(|error| {
        let message = error["message"].as_str().unwrap_or_default();
        message.contains("the first candidate of the task answers")
            && message.contains("/model is \"wrong\", expected \"sonnet\"")
    });
    assert!(named && errors.len() > 3, "{errors:?}");
}

#[tokio::test]
async fn an_operators_own_vectors_count_too_and_may_replace_built_in_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let vectors = |vectors: Value| {
        let path = folder.path().join("vectors.json");
        std::fs::write(&path, json!({"vectors": vectors}).to_string()).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let own = json!([{
        "name": "tasks of x are answered by m",
        "policy": {"defaultProvider": "p", "defaultModel": "m"},
        "request": {"task": "x-1"},
        "answer": {"allow": true, "task": "x-1", "provider": "p", "model": "m",
            "egress": {"requested": "enforce", "effective": "enforce"},
            "rules": {"provider": "tenant", "model": "tenant", "egress": "base"}}
    }]);
    let path = vectors(own);
    let app = App::builder()
        .dev()
        .env("ORDAIN_COMPONENT_VECTORS", &path)
        .start()
        .await;
    let refused = push(&app, &test_component("model:other"), "").await;
    let refused = refused.problem(422, "component-refused").text;
    assert!(
        refused.contains("tasks of x are answered by m"),
        "{refused}"
    );
    push(&app, &test_component("none"), "").await.expect(200);

    // Other rules, on purpose: the built-in vector of the same name gives way.
    let changed = json!([{
        "name": "a task without candidates is answered by the tenant's default",
        "policy": {"defaultProvider": "p", "defaultModel": "m"},
        "request": {},
        "answer": {"allow": false, "refusal": {"code": "no-policy"},
            "egress": {"requested": "enforce", "effective": "enforce"}}
    }]);
    let path = vectors(changed);
    let (code, log) = App::builder()
        .dev()
        .env("ORDAIN_COMPONENT_VECTORS", &path)
        .refused()
        .await;
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains("1 of the decision vectors") && log.contains("tenant's default"),
        "{log}"
    );
    for (broken, words) in [
        ("{}", "missing field `vectors`"),
        (r#"{"vectors":[{"name":"a"}]}"#, "`a` must have either"),
        (
            r#"{"vectors":[{"name":"a","request":{"colour":1},"answer":{}}]}"#,
            "/colour",
        ),
        ("nothing", "expected"),
    ] {
        let path = folder.path().join("broken.json");
        std::fs::write(&path, broken).expect("written");
        let path = path.to_str().expect("UTF-8");
        let (code, log) = App::builder()
            .dev()
            .env("ORDAIN_COMPONENT_VECTORS", path)
            .refused()
            .await;
        assert_eq!(code, Some(1), "{log}");
        assert!(
            log.contains(words) && log.contains("broken.json"),
            "{words}: {log}"
        );
    }
}

#[tokio::test]
async fn where_signatures_are_required_only_signed_components_run() {
    let ((ours, key), (theirs, _)) = (pair(7), pair(8));
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "rules", &real());
    let path = file.to_str().expect("UTF-8");
    let builder = || {
        App::builder()
            .dev()
            .arg("--component")
            .arg(path)
            .env("ORDAIN_COMPONENT_SIGNATURE", "required")
            .env("ORDAIN_COMPONENT_KEYS", &key)
    };
    let (code, log) = builder().refused().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("no signature"), "{log}");
    let beside = folder.path().join("rules.wasm.sig");
    std::fs::write(&beside, theirs.sign(&real())).expect("written");
    let (code, log) = builder().refused().await;
    assert!(
        code == Some(1) && log.contains("by none of the 1 key"),
        "{log}"
    );
    std::fs::write(&beside, ours.sign(&real())).expect("written");

    let app = builder().start().await;
    let bytes = test_component("none");
    let unsigned = push(&app, &bytes, "?promote=true")
        .await
        .problem(422, "component-refused");
    assert!(unsigned.text.contains("no signature"), "{}", unsigned.text);
    let signed = async |signature: String| {
        let call = app.call("PUT", "/v1/component?promote=true");
        call.header("ordain-signature", &signature)
            .wasm(bytes.clone())
            .send()
            .await
    };
    let forged = signed(STANDARD.encode(theirs.sign(&bytes))).await;
    assert!(
        forged
            .problem(422, "component-refused")
            .text
            .contains("by none")
    );
    let foreign = signed(STANDARD.encode(ours.sign(&real()))).await;
    assert!(
        foreign
            .problem(422, "component-refused")
            .text
            .contains("of other bytes")
    );
    signed("AAAA".to_owned())
        .await
        .problem(422, "component-refused");
    let good = signed(STANDARD.encode(ours.sign(&bytes))).await.expect(200);
    assert_eq!(good.json["done"], true);
    assert_eq!(report(&app).await["digest"], digest(&bytes));

    // The command line takes the signature beside the file.
    let other = write(folder.path(), "other", &test_component("model:x"));
    let other = other.to_str().expect("UTF-8");
    let args = ["component", "push", other, "--server", app.base()];
    assert!(cli(args).await.expect(1).stderr.contains("no signature"));
    let signature = STANDARD.encode(ours.sign(&test_component("model:x")));
    std::fs::write(format!("{other}.sig"), signature).expect("written");
    cli(args).await.expect(0);
}

#[tokio::test]
async fn a_configuration_that_cannot_check_signatures_does_not_start() {
    for (env, words) in [
        (
            &[("ORDAIN_COMPONENT_SIGNATURE", "required")][..],
            "set ORDAIN_COMPONENT_KEYS",
        ),
        (
            &[("ORDAIN_COMPONENT_KEYS", "AAAA")],
            "key 1 of ORDAIN_COMPONENT_KEYS",
        ),
        (
            &[("ORDAIN_COMPONENT_SIGNATURE", "perhaps")],
            "optional or required",
        ),
        (&[("ORDAIN_INSTANCES", "hot")], "warm or fresh"),
    ] {
        let output = cli_with(env, ["serve", "--dev", "--print-config"]).await;
        assert_ne!(output.code, Some(0), "{output:?}");
        assert!(output.stderr.contains(words), "{words}: {output:?}");
    }
}

#[tokio::test]
async fn a_check_shows_the_component_every_stored_record() {
    let app = App::memory().await;
    for tenant in ["a", "b", "c"] {
        app.store(tenant, &policy("openai", "m")).await;
    }
    app.store("d", &policy("openai", "x-large")).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |mode: &str| {
        let path = write(folder.path(), "new", &test_component(mode));
        path.to_str().expect("UTF-8").to_owned()
    };
    let path = file("none");
    let fine = cli(["component", "check", &path, "--server", app.base()])
        .await
        .expect(0);
    assert!(fine.stdout.contains("4 shown"), "{fine:?}");
    // It refuses records that speak of `x-`.
    let path = file("refuse-record");
    let refused = cli(["component", "check", &path, "--server", app.base()])
        .await
        .expect(1);
    assert!(refused.stdout.contains("the record of d:"), "{refused:?}");
    let json = cli([
        "component",
        "check",
        &path,
        "--json",
        "--server",
        app.base(),
    ])
    .await
    .expect(1);
    let invalid = json.json()["invalid"].clone();
    assert_eq!(
        (invalid.as_array().map(Vec::len), &invalid[0]["tenant"]),
        (Some(1), &json!("d"))
    );
    let offline = cli(["component", "check", &path, "--offline"])
        .await
        .expect(0);
    assert!(offline.stdout.contains("vectors"), "{offline:?}");
    let path = file("trap@always");
    let offline = cli(["component", "check", &path, "--offline"])
        .await
        .expect(1);
    assert!(
        offline.stderr.contains("the component failed"),
        "{offline:?}"
    );
    assert_eq!(report(&app).await["fleet"], json!({"current": "file"}));
}
