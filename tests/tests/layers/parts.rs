//! Parts of a crate, one above the other: what each takes, it takes from below.

use super::imports::Import;
use super::modules::Crate;

/// A part, and the modules that it is made of.
pub type Part = (&'static str, &'static [&'static str]);

/// Imports of a part above; the lowest part is the first.
pub fn find_upward<'a>(
    parts: &[Part],
    imports: impl IntoIterator<Item = &'a Import>,
) -> Vec<&'a Import> {
    let level = |file: &str| parts.iter().position(|(_, of)| of.contains(&module(file)));
    imports
        .into_iter()
        .filter(|import| level(&import.from) < level(&import.to))
        .collect()
}

/// Modules that are in no part.
pub fn find_forgotten(parts: &[Part], house: &Crate) -> Vec<String> {
    let files = house.modules.values().map(|module| &*module.file);
    let modules = files.map(module).filter(|module| *module != "lib");
    modules
        .filter(|module| !parts.iter().any(|(_, of)| of.contains(module)))
        .map(str::to_owned)
        .collect()
}

/// The module that is next to the crate's root.
fn module(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}
