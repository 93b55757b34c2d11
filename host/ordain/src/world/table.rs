//! What this host offers to components, and what it can ask of them: the packages of `wit/` with
//! their newest versions, and for each function since when it is there. Everything else that needs
//! a version takes it from here. Not for judging a component by it (`versions`).

use std::fmt;

/// A package of `wit/`. This host runs every version of it from the first of this major one to this
/// one.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    pub name: &'static str,
    pub version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

/// The platform.
pub const HOST: Package = Package {
    name: "ordain:host",
    version: Version(1, 0, 0),
};
const POLICY: Package = Package {
    name: "ordain:policy",
    version: Version(1, 1, 0),
};
const CONFIG: Package = Package {
    name: "ordain:config",
    version: Version(1, 0, 0),
};

/// Interfaces that a component may import.
pub const IMPORTS: [(&Package, &str); 11] = [
    (&HOST, "types"),
    (&HOST, "settings"),
    (&HOST, "clock"),
    (&HOST, "log"),
    (&HOST, "held"),
    (&HOST, "near"),
    (&HOST, "far"),
    (&HOST, "origin"),
    (&HOST, "feed"),
    (&POLICY, "types"),
    (&POLICY, "settings"),
];

/// Functions that a component may export, in the order of [`Export`]: of which capability each is,
/// its name, and the first version with it.
pub const EXPORTS: [(Export, Capability, &str, Version); 6] = [
    (
        Export::Resolve,
        Capability::Policy,
        "resolve",
        Version(1, 0, 0),
    ),
    (
        Export::ResolveBatch,
        Capability::Policy,
        "resolve-batch",
        Version(1, 1, 0),
    ),
    (
        Export::ValidatePolicy,
        Capability::Policy,
        "validate",
        Version(1, 0, 0),
    ),
    (
        Export::GetEffective,
        Capability::Config,
        "get-effective",
        Version(1, 0, 0),
    ),
    (
        Export::ValidateConfig,
        Capability::Config,
        "validate",
        Version(1, 0, 0),
    ),
    (
        Export::PatchConfig,
        Capability::Config,
        "patch",
        Version(1, 0, 0),
    ),
];

/// What a component may be able to do: it exports the interface of that name or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    Policy,
    Config,
}

/// A function of a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    Resolve,
    ResolveBatch,
    ValidatePolicy,
    GetEffective,
    ValidateConfig,
    PatchConfig,
}

impl Package {
    /// The name of one of its interfaces, in the newest version.
    pub fn interface(&self, interface: &str) -> String {
        format!("{}/{interface}@{}", self.name, self.version)
    }
}

impl Capability {
    pub const ALL: [Capability; 2] = [Capability::Policy, Capability::Config];

    pub fn name(self) -> &'static str {
        match self {
            Capability::Policy => "policy",
            Capability::Config => "config",
        }
    }

    pub fn package(self) -> &'static Package {
        match self {
            Capability::Policy => &POLICY,
            Capability::Config => &CONFIG,
        }
    }
}

impl Export {
    pub fn capability(self) -> Capability {
        EXPORTS[self as usize].1
    }

    pub fn function(self) -> &'static str {
        EXPORTS[self as usize].2
    }
}

/// `policy.resolve`
impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.capability().name(), self.function())
    }
}

impl Version {
    pub fn parse(text: &str) -> Option<Version> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        let version = Version(next()?, next()?, next()?);
        numbers.next().is_none().then_some(version)
    }

    /// Whether a host of this version runs what was made for another.
    pub fn runs(self, other: Version) -> bool {
        self.0 == other.0 && self.1 >= other.1
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_the_order_of_the_enum_and_a_version_that_is_there() {
        for (place, (export, capability, _, since)) in EXPORTS.into_iter().enumerate() {
            assert_eq!(export as usize, place);
            assert!(capability.package().version.runs(since), "{export}");
        }
    }

    #[test]
    fn a_host_runs_older_minor_versions_and_no_others() {
        let host = Version::parse("1.2.0").expect("a version");
        for (other, runs) in [
            ("1.2.0", true),
            ("1.2.9", true),
            ("1.0.3", true),
            ("1.3.0", false),
            ("0.2.0", false),
            ("2.0.0", false),
        ] {
            assert_eq!(
                host.runs(Version::parse(other).expect(other)),
                runs,
                "{other}"
            );
        }
        for none in ["", "1", "1.2", "1.2.0-rc1", "1.2.3.4", "a.b.c"] {
            assert_eq!(Version::parse(none), None, "{none}");
        }
    }
}
