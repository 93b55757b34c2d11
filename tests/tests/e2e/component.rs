//! The built component file: what it imports is all that it can do, so the list is a promise.

use std::collections::BTreeSet;

use ordain_tests::process::component;
use wasmtime::Engine;
use wasmtime::component::Component;
use wit_parser::{Resolve, WorldItem, WorldKey};

/// Names of what the world of `wit/` imports and exports.
fn world() -> (BTreeSet<String>, BTreeSet<String>) {
    let mut resolve = Resolve::default();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
    let (package, _) = resolve.push_dir(folder).expect("wit/ can be parsed");
    let world = resolve
        .select_world(&[package], None)
        .expect("wit/ has one world");
    let names = |items: Vec<(&WorldKey, &WorldItem)>| {
        items
            .into_iter()
            .map(|(key, _)| resolve.name_world_key(key))
            .collect()
    };
    let world = &resolve.worlds[world];
    (
        names(world.imports.iter().collect()),
        names(world.exports.iter().collect()),
    )
}

/// Names of what the file imports and exports.
fn file() -> (BTreeSet<String>, BTreeSet<String>) {
    let engine = Engine::default();
    let component = Component::from_file(&engine, component()).expect("a component");
    let kind = component.component_type();
    let imports = kind
        .imports(&engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let exports = kind
        .exports(&engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    (imports, exports)
}

#[test]
fn the_component_imports_exactly_what_its_world_grants_and_no_wasi() {
    let (granted, promised) = world();
    let (imports, exports) = file();
    assert_eq!(imports, granted);
    assert_eq!(exports, promised);
    assert!(
        imports.iter().all(|name| name.starts_with("ordain:")),
        "{imports:?}"
    );
    assert!(
        imports.len() >= 8,
        "the comparison is not of two empty lists: {imports:?}"
    );
}

#[test]
fn the_component_is_small() {
    let size = std::fs::metadata(component()).expect("the file").len();
    assert!(size <= 400_000, "{size} bytes");
}
