//! What each file takes from which other one: every path that begins in this crate, followed
//! through whatever hands a name on to the file that has it.

use std::collections::BTreeSet;
use std::fmt;

use syn::visit::{self, Visit};
use syn::{Attribute, ItemMod, ItemUse, UseTree};

use super::modules::{Crate, Name};

/// Files below `src`, and the path that ties them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub from: String,
    pub to: String,
    pub path: String,
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}: {}", self.from, self.to, self.path)
    }
}

pub fn all(house: &Crate) -> BTreeSet<Import> {
    let mut imports = BTreeSet::new();
    for (name, module) in &house.modules {
        let mut paths = Paths::default();
        paths.visit_file(&module.syntax);
        let Paths {
            mut taken,
            handed_on,
            said,
        } = paths;
        // What is handed on and not used is no need of this file's.
        taken.extend(
            handed_on
                .into_iter()
                .filter(|(name, _)| said.contains(name))
                .map(|(_, path)| path),
        );
        for path in taken {
            let Some(target) = resolve(house, name, &path, 0) else {
                continue;
            };
            let to = &house.modules[&target].file;
            if *to != module.file {
                imports.insert(Import {
                    from: module.file.clone(),
                    to: to.clone(),
                    path: path.join("::"),
                });
            }
        }
    }
    imports
}

/// The module that has what a path in another names; `None`: it is none of this crate's.
fn resolve(house: &Crate, from: &Name, path: &[String], depth: usize) -> Option<Name> {
    let mut module = from.clone();
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        match first.as_str() {
            "crate" => module = Name::new(),
            "self" => {}
            "super" => drop(module.pop()?),
            _ => break,
        }
        rest = after;
    }
    let is_relative = rest.len() == path.len();
    while let Some((first, after)) = rest.split_first() {
        let mut child = module.clone();
        child.push(first.clone());
        if house.modules.contains_key(&child) {
            (module, rest) = (child, after);
        } else {
            break;
        }
    }
    // It begins elsewhere: with a name of another crate, or one that is imported on another line.
    if is_relative && rest.len() == path.len() {
        return None;
    }
    let Some(item) = rest.first() else {
        return Some(module);
    };
    // What is only handed on is another's.
    let syntax = &house.modules.get(&module)?.syntax;
    for used in syntax.items.iter().filter_map(|item| match item {
        syn::Item::Use(used) => Some(used),
        _ => None,
    }) {
        for (name, path) in leaves(&used.tree) {
            if name == *item && depth < 8 {
                // A name from outside has no file here.
                return resolve(house, &module, &path, depth + 1);
            }
        }
    }
    Some(module)
}

/// Names that a `use` brings, and what they stand for.
fn leaves(tree: &UseTree) -> Vec<(String, Vec<String>)> {
    match tree {
        UseTree::Path(path) => {
            let prefix = path.ident.to_string();
            let mut below = leaves(&path.tree);
            for (name, rest) in &mut below {
                if rest == &["self"] {
                    *name = prefix.clone();
                    rest.clear();
                }
                rest.insert(0, prefix.clone());
            }
            below
        }
        UseTree::Name(name) => vec![(name.ident.to_string(), vec![name.ident.to_string()])],
        UseTree::Rename(rename) => {
            vec![(rename.rename.to_string(), vec![rename.ident.to_string()])]
        }
        UseTree::Glob(_) => vec![("*".to_owned(), Vec::new())],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

/// Paths that a file names, save in tests.
#[derive(Default)]
struct Paths {
    taken: Vec<Vec<String>>,
    /// By the names that others know them by.
    handed_on: Vec<(String, Vec<String>)>,
    /// First segments of all paths.
    said: BTreeSet<String>,
}

impl<'a> Visit<'a> for Paths {
    fn visit_item_use(&mut self, used: &'a ItemUse) {
        let leaves = leaves(&used.tree);
        match used.vis {
            syn::Visibility::Inherited => {
                self.taken.extend(leaves.into_iter().map(|(_, path)| path))
            }
            _ => self.handed_on.extend(leaves),
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.said.insert(segments[0].clone());
        if matches!(segments[0].as_str(), "crate" | "super" | "self") && segments.len() > 1 {
            self.taken.push(segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, module: &'a ItemMod) {
        if !module.attrs.iter().any(is_of_tests) {
            visit::visit_item_mod(self, module);
        }
    }
}

fn is_of_tests(attribute: &Attribute) -> bool {
    let is_test = |list: &syn::MetaList| list.tokens.to_string() == "test";
    attribute.path().is_ident("cfg") && attribute.meta.require_list().is_ok_and(is_test)
}
