//! Whether this host runs a component, by the names of what it imports and exports, and in which
//! words it is refused if not. Not for what there is (`table`), nor for what the names mean
//! (`wit/`).

use super::table::{Capability, IMPORTS, Package, Version};

/// Which capabilities a component has, in which versions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Exported([Option<Version>; Capability::ALL.len()]);

impl Exported {
    pub fn version(&self, capability: Capability) -> Option<Version> {
        self.0[capability as usize]
    }
}

/// What a component of these names can do, or why it cannot run here: every difference.
pub fn find_exported(imports: &[String], exports: &[String]) -> Result<Exported, Vec<String>> {
    let mut differences = Vec::new();
    let mut exported = Exported::default();
    let mut is_any = false;
    for name in exports {
        let Some((capability, version)) = read_capability(name) else {
            continue;
        };
        is_any = true;
        match read_version(capability.package(), version) {
            Some(version) => exported.0[capability as usize] = Some(version),
            None => differences.push(format!(
                "it exports {name}, and this host runs {}",
                describe_versions(capability.package())
            )),
        }
    }
    if !is_any {
        differences.push(format!(
            "it exports nothing that this host could ask it: {}{}",
            known_capabilities(),
            instead(exports)
        ));
    }
    differences.extend(imports.iter().filter_map(|name| find_difference(name)));
    match differences.is_empty() {
        true => Ok(exported),
        false => Err(differences),
    }
}

/// The capability whose interface has this name, and the version.
fn read_capability(name: &str) -> Option<(Capability, &str)> {
    let (interface, version) = name.split_once('@')?;
    let (package, interface) = interface.split_once('/')?;
    let capability = Capability::ALL.into_iter().find(|capability| {
        capability.package().name == package && capability.name() == interface
    })?;
    Some((capability, version))
}

/// A version of a package that this host runs.
fn read_version(package: &Package, version: &str) -> Option<Version> {
    Version::parse(version).filter(|version| package.version.runs(*version))
}

/// What is wrong with an import.
fn find_difference(name: &str) -> Option<String> {
    let parts = name.split_once('@').and_then(|(interface, version)| {
        let (package, interface) = interface.split_once('/')?;
        Some((package, interface, version))
    });
    let (package, interface, version) = parts.unwrap_or((name, "", ""));
    let of_package = || IMPORTS.iter().filter(|(of, _)| of.name == package);
    let offered = of_package().find(|(_, offered)| *offered == interface);
    match (offered, of_package().next()) {
        (Some((package, _)), _) if read_version(package, version).is_some() => None,
        (Some((package, _)), _) => Some(format!(
            "it imports {name}, and this host runs {}",
            describe_versions(package)
        )),
        (None, Some(_)) => {
            let interfaces = of_package().map(|(_, interface)| *interface);
            let interfaces = interfaces.collect::<Vec<_>>().join(", ");
            Some(format!(
                "it imports {name}, and {package} has no such interface: there are {interfaces}"
            ))
        }
        (None, None) => {
            let all = IMPORTS.map(|(package, interface)| format!("{}/{interface}", package.name));
            Some(format!(
                "it imports {name}, which this host does not offer: all that a component may \
                 import is {}",
                all.join(", ")
            ))
        }
    }
}

fn describe_versions(package: &Package) -> String {
    let Package { name, version } = package;
    format!(
        "{name}@{version} and the versions {}.* before it",
        version.0
    )
}

fn known_capabilities() -> String {
    let names = Capability::ALL.map(|of| of.package().interface(of.name()));
    names.join(", ")
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

    fn find(imports: &[&str], exports: &[&str]) -> Result<Exported, String> {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        find_exported(&owned(imports), &owned(exports)).map_err(|all| all.join("; "))
    }

    #[test]
    fn what_a_component_can_do_is_what_it_exports_in_versions_of_their_own() {
        let imports = ["ordain:host/near@1.0.0", "ordain:policy/types@1.0.0"];
        let policy = "ordain:policy/policy@1.0.0";
        let config = "ordain:config/config@1.0.0";
        for (exports, of_policy, of_config) in [
            (vec![policy], true, false),
            (vec![config, "other:thing/thing@0.1.0"], false, true),
            (vec![policy, config], true, true),
        ] {
            let exported = find(&imports, &exports).expect("it runs here");
            let first = Some(Version(1, 0, 0));
            let expected = |has: bool| if has { first } else { None };
            assert_eq!(exported.version(Capability::Policy), expected(of_policy));
            assert_eq!(exported.version(Capability::Config), expected(of_config));
        }
    }

    #[test]
    fn versions_that_this_host_does_not_know_are_named() {
        for version in ["9.1.0", "0.3.0", "1.7.0", "next"] {
            let import = format!("ordain:host/near@{version}");
            let export = format!("ordain:policy/policy@{version}");
            let text = find(&[&import], &[&export]).expect_err(version);
            assert!(text.contains(&format!("exports {export}")), "{text}");
            assert!(text.contains(&format!("imports {import}")), "{text}");
            assert!(text.contains("ordain:policy@1.1.0 and"), "{text}");
            assert!(text.contains("ordain:host@1.0.0 and"), "{text}");
        }
    }

    #[test]
    fn every_difference_is_named() {
        let exports = ["ordain:policy/policy@1.0.0"];
        for (import, words) in [
            (
                "wasi:cli/environment@0.2.3",
                "wasi:cli/environment@0.2.3, which this host does not offer",
            ),
            ("ordain:host/files@1.0.0", "has no such interface"),
            ("ordain:policy/near@1.0.0", "has no such interface"),
            ("near", "does not offer"),
        ] {
            let text = find(&["ordain:host/log@1.0.0", import], &exports).expect_err(import);
            assert!(text.contains(words) && text.contains(import), "{text}");
            assert!(!text.contains("log@"), "{text}");
        }
        let none = find(&[], &["ordain:policy/other@1.0.0"]).expect_err("nothing");
        assert!(
            none.contains("ordain:policy/policy@1.1.0, ordain:config/config@1.0.0"),
            "{none}"
        );
        assert!(
            none.contains("it exports ordain:policy/other@1.0.0"),
            "{none}"
        );
        assert!(
            find(&[], &[])
                .expect_err("nothing")
                .contains("exports nothing")
        );
    }
}
