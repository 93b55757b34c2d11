//! What this host offers to components and wants of them, by name and version, and in which words a
//! component is refused that wants something else. Not for what the names mean (`wit/`).

/// Released versions of the package `ordain:policy` that this host runs, newest first. What a
/// version offers is in `wit/` and `wit/released/`.
pub const VERSIONS: [&str; 3] = ["0.3.0", "0.2.0", "0.1.0"];

/// Interfaces that a component may import.
const OFFERED: [&str; 10] = [
    "types",
    "settings",
    "clock",
    "log",
    "held",
    "near",
    "far",
    "policy-origin",
    "config-origin",
    "feed",
];
const PACKAGE: &str = "ordain:policy/";
const RESOLVER: &str = "resolver";

/// The version of the world that these names are of, or why they are of none: every difference.
pub fn find_version(imports: &[String], exports: &[String]) -> Result<&'static str, Vec<String>> {
    let mut differences = Vec::new();
    let found = exports.iter().find_map(|name| {
        let (interface, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
        (interface == RESOLVER).then_some(version)
    });
    let version = match found {
        None => {
            let lacking = format!(
                "it exports no {PACKAGE}{RESOLVER}@{}{}",
                VERSIONS[0],
                instead(exports)
            );
            differences.push(lacking);
            None
        }
        Some(version) => {
            let known = VERSIONS.into_iter().find(|known| *known == version);
            if known.is_none() {
                differences.push(format!(
                    "it exports {PACKAGE}{RESOLVER}@{version}, and this host runs {}",
                    versions()
                ));
            }
            known
        }
    };
    for name in imports {
        differences.extend(difference(name, version));
    }
    match version {
        Some(version) if differences.is_empty() => Ok(version),
        _ => Err(differences),
    }
}

/// What is wrong with an import of a component of this version of the world.
fn difference(name: &str, version: Option<&str>) -> Option<String> {
    let parts = name.strip_prefix(PACKAGE).and_then(|n| n.split_once('@'));
    let Some((interface, found)) = parts else {
        return Some(format!(
            "it imports {name}, which this host does not offer: all that a component may import is \
             {PACKAGE}{{{}}}",
            OFFERED.join(", ")
        ));
    };
    if !OFFERED.contains(&interface) {
        return Some(format!(
            "it imports {name}, and {PACKAGE} has no such interface: there are {}",
            OFFERED.join(", ")
        ));
    }
    match version {
        Some(version) if version != found => Some(format!(
            "it imports {name}, but exports a {RESOLVER} of {version}: both must be of one version"
        )),
        None if !VERSIONS.contains(&found) => Some(format!(
            "it imports {name}, and this host runs {}",
            versions()
        )),
        _ => None,
    }
}

/// All versions, in words.
fn versions() -> String {
    let [newer @ .., oldest] = VERSIONS;
    format!("{} and {oldest}", newer.join(", "))
}

fn instead(exports: &[String]) -> String {
    match exports {
        [] => "; it exports nothing".to_owned(),
        some => format!("; it exports {}", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(imports: &[&str], exports: &[&str]) -> String {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        match find_version(&owned(imports), &owned(exports)) {
            Ok(version) => version.to_owned(),
            Err(differences) => differences.join("; "),
        }
    }

    #[test]
    fn every_released_version_is_known_and_others_are_named() {
        for version in VERSIONS {
            let near = format!("ordain:policy/near@{version}");
            let resolver = format!("ordain:policy/resolver@{version}");
            assert_eq!(differences(&[&near], &[&resolver]), version);
        }
        let newer = differences(
            &["ordain:policy/near@9.1.0"],
            &["ordain:policy/resolver@9.1.0"],
        );
        assert!(
            newer.contains("exports ordain:policy/resolver@9.1.0"),
            "{newer}"
        );
        assert!(
            newer.contains("imports ordain:policy/near@9.1.0"),
            "{newer}"
        );
        assert!(newer.contains("0.3.0, 0.2.0 and 0.1.0"), "{newer}");
    }

    #[test]
    fn every_difference_is_named() {
        let exports = ["ordain:policy/resolver@0.2.0"];
        for (import, words) in [
            (
                "wasi:cli/environment@0.2.3",
                "wasi:cli/environment@0.2.3, which this host does not offer",
            ),
            ("ordain:policy/files@0.2.0", "has no such interface"),
            ("ordain:policy/near@0.1.0", "both must be of one version"),
            ("near", "does not offer"),
        ] {
            let text = differences(&["ordain:policy/log@0.2.0", import], &exports);
            assert!(text.contains(words) && text.contains(import), "{text}");
        }
        let none = differences(&[], &["ordain:policy/other@0.2.0"]);
        assert!(
            none.contains("exports no ordain:policy/resolver@0.3.0"),
            "{none}"
        );
        assert!(
            none.contains("it exports ordain:policy/other@0.2.0"),
            "{none}"
        );
        assert!(differences(&[], &[]).contains("exports nothing"));
    }
}
