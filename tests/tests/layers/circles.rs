//! Files that reach each other along imports.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::Import;

/// Sets of files each of which reaches all others of its set.
pub fn find(imports: &BTreeSet<Import>) -> Vec<BTreeSet<String>> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for import in imports {
        next.entry(&import.from).or_default().insert(&import.to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> = next
        .keys()
        .map(|file| (*file, reach(&next, file)))
        .collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (file, from_here) in &reached {
        let back = |other: &&&str| reached.get(**other).is_some_and(|from| from.contains(file));
        let circle: BTreeSet<String> = from_here
            .iter()
            .filter(back)
            .map(|other| (*other).to_owned())
            .collect();
        if !circle.is_empty() && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

/// Files that one reaches by one import or more.
fn reach<'a>(next: &BTreeMap<&str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&str> = next.get(from).into_iter().flatten().copied().collect();
    while let Some(file) = left.pop() {
        if reached.insert(file) {
            left.extend(next.get(file).into_iter().flatten().copied());
        }
    }
    reached
}
