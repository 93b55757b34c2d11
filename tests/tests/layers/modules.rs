//! The modules of a crate: which file each is in, what it imports and what it hands on. Not for
//! what is a circle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Segments of the path of a module, without `crate`.
pub type Name = Vec<String>;

pub struct Crate {
    pub modules: BTreeMap<Name, Module>,
}

pub struct Module {
    /// Below `src`.
    pub file: String,
    pub syntax: syn::File,
}

impl Crate {
    /// Reads the sources below a `src`, save tests.
    pub fn read(src: &Path) -> Crate {
        let mut modules = BTreeMap::new();
        for path in files(src) {
            let relative = path.strip_prefix(src).expect("below it");
            let Some(name) = module(relative) else {
                continue;
            };
            let text = std::fs::read_to_string(&path).expect("a source");
            let syntax = syn::parse_file(&text);
            let syntax = syntax.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let file = relative.display().to_string();
            modules.insert(name, Module { file, syntax });
        }
        Crate { modules }
    }
}

/// The module that a file holds; `None`: it is a test.
fn module(file: &Path) -> Option<Name> {
    let mut name: Name = Vec::new();
    for part in &file.with_extension("") {
        name.push(part.to_str()?.to_owned());
    }
    if name
        .iter()
        .any(|part| part == "tests" || part.ends_with("_tests"))
    {
        return None;
    }
    if matches!(
        name.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        name.pop();
    }
    Some(name)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("main.rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
