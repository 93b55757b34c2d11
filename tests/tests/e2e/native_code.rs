//! Compiled code is run as it is, so it must be this user's own, of this very component, from a
//! folder that whoever starts the program chose.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ordain_tests::components::{component as test_component, digest, real, write};
use ordain_tests::process;

/// `ordain ARGS` in this folder, with a key of its own beside the caches.
fn ordain(folder: &Path, settings: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(process::binary());
    for name in process::scrubbed() {
        command.env_remove(name);
    }
    command
        .current_dir(folder)
        .env("XDG_CONFIG_HOME", settings)
        .env("XDG_CACHE_HOME", settings)
        .envs(env.iter().copied())
        .args(args);
    command.output().expect("the binary can be started")
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// Checks a component as a start does: with the folder of compiled code.
fn checked(settings: &Path, cache: &Path, file: &Path) -> String {
    let args = [
        "component",
        "check",
        "--offline",
        file.to_str().expect("UTF-8"),
    ];
    let cache = [("ORDAIN_COMPONENT_CACHE", cache.to_str().expect("UTF-8"))];
    let output = ordain(process::empty_folder(), settings, &args, &cache);
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    told
}

fn compiled(cache: &Path, bytes: &[u8]) -> PathBuf {
    let name = digest(bytes);
    let name = name.trim_start_matches("sha256:");
    let entries = std::fs::read_dir(cache)
        .expect("the folder is there")
        .flatten();
    let found = entries.map(|entry| entry.path()).find(|path| {
        let file = path.file_name().and_then(|file| file.to_str());
        file.is_some_and(|file| file.starts_with(name))
    });
    found.expect("its code is kept")
}

#[test]
fn code_of_another_component_under_the_name_of_a_good_one_is_not_run() {
    let base = tempfile::tempdir().expect("a folder");
    let (cache, settings) = (base.path().join("cache"), base.path().join("settings"));
    let (good, other) = (real(), test_component("none"));
    let good_file = write(base.path(), "good", &good);
    let other_file = write(base.path(), "other", &other);
    for file in [&good_file, &other_file] {
        let told = checked(&settings, &cache, file);
        assert!(!told.contains("of no use"), "{told}");
    }
    let told = checked(&settings, &cache, &good_file);
    assert!(!told.contains("of no use"), "what was kept is used: {told}");
    std::fs::copy(compiled(&cache, &other), compiled(&cache, &good)).expect("a copy");
    let told = checked(&settings, &cache, &good_file);
    assert!(told.contains("not what this user compiled of it"), "{told}");
    let told = checked(&settings, &cache, &good_file);
    assert!(!told.contains("of no use"), "it was replaced: {told}");
}

#[test]
fn code_that_another_user_compiled_is_not_run_whoever_owns_the_file() {
    let base = tempfile::tempdir().expect("a folder");
    let [cache, ours, theirs] = ["cache", "ours", "theirs"].map(|name| base.path().join(name));
    let good = write(base.path(), "good", &test_component("none"));
    // As a folder comes with a clone: the files are ours, what is in them is not.
    checked(&theirs, &cache, &good);
    let told = checked(&ours, &cache, &good);
    assert!(told.contains("not what this user compiled of it"), "{told}");
    let key = ours.join("ordain/compiled.key");
    let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&key), mode(&ours.join("ordain"))), (0o600, 0o700));
    // Without a key of this user nothing is kept, and all works.
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("ours");
    let told = checked(&ours, &cache, &good);
    assert!(told.contains("compiled code is not cached"), "{told}");
}

#[test]
fn a_folder_below_one_that_others_may_write_to_is_not_used() {
    let base = tempfile::tempdir().expect("a folder");
    let open = base.path().join("open");
    std::fs::create_dir(&open).expect("a folder");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).expect("ours");
    let settings = base.path().join("settings");
    let good = write(base.path(), "good", &test_component("none"));
    let told = checked(&settings, &open.join("cache"), &good);
    assert!(
        told.contains("compiled code is not cached") && told.contains("on the way to it"),
        "{told}"
    );
}

#[test]
fn a_file_that_nobody_named_leads_to_no_native_code_and_to_no_other_rules() {
    let base = tempfile::tempdir().expect("a folder");
    let strange = base.path().join("strange");
    std::fs::create_dir(&strange).expect("a folder");
    let settings = base.path().join("settings");
    let file = strange.join("ordain.toml");
    let say = |text: &str| {
        std::fs::write(&file, text).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("ours");
    };
    let database = [
        "policy",
        "list",
        "--database-url",
        "postgres://nobody@127.0.0.1:1/x",
    ];
    let print = ["serve", "--dev", "--print-config"];
    say("bound = \"2s\"\n\ncomponent-cache = \"cache\"\n");
    for args in [&database[..], &print] {
        let output = ordain(&strange, &settings, args, &[]);
        let told = text(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(
            told.contains("nobody named it")
                && told.contains("line 3: `component-cache`")
                && told.contains("ORDAIN_CONFIG=ordain.toml"),
            "{told}"
        );
        // Whoever names it takes it.
        let output = ordain(
            &strange,
            &settings,
            args,
            &[("ORDAIN_CONFIG", "ordain.toml")],
        );
        assert!(
            !text(&output).contains("nobody named it"),
            "{}",
            text(&output)
        );
    }
    assert!(!strange.join("cache").exists());
    for line in [
        "component = \"evil.wasm\"",
        "component-keys = [\"MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\"]",
        "component-signature = \"optional\"",
        "component-vectors = \"/etc/shadow\"",
        "redis-url = \"redis://evil.example:6379\"",
        "redis-ca = \"evil.pem\"",
        "far-key = \"sixteen-bytes-of-evil\"",
    ] {
        say(line);
        let output = ordain(&strange, &settings, &database, &[]);
        let told = text(&output);
        assert_eq!(output.status.code(), Some(2), "{line}: {told}");
        let key = line.split(' ').next().expect("a key");
        assert!(told.contains(&format!("line 1: `{key}`")), "{line}: {told}");
        // A service is started where its file is.
        let output = ordain(&strange, &settings, &print, &[]);
        assert!(output.status.success(), "{line}: {}", text(&output));
    }
    // What says how, not whom to believe, is taken.
    say("default-provider = \"p\"\ndefault-model = \"m\"\nbound = \"2s\"");
    let told = text(&ordain(&strange, &settings, &database, &[]));
    assert!(!told.contains("ordain.toml"), "{told}");
}
