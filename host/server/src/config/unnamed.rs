//! What is not taken from an `ordain.toml` that merely lies in the working directory, as a
//! stranger's does in a folder that was unpacked or cloned. Not for what is wrong with a file
//! (`file`).

/// Who reads the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Started where its file is, by whoever runs the service.
    Service,
    /// A command on a database, called from anywhere.
    Command,
}

/// Leads to native code that is run.
const NATIVE: &[&str] = &["component_cache"];
/// Which rules a command goes by and whom it believes, and where it sends what it knows.
const TRUST: &[&str] = &[
    "component",
    "component_signature",
    "component_keys",
    "component_vectors",
    "redis_url",
    "redis_ca",
    "far_key",
];

impl Reader {
    /// Whether it must not take this option, by its id, from such a file.
    pub fn refuses(self, id: &str) -> bool {
        NATIVE.contains(&id) || (self == Reader::Command && TRUST.contains(&id))
    }

    /// How a file is named.
    pub fn how(self) -> &'static str {
        match self {
            Reader::Service => "--config ordain.toml, or ORDAIN_CONFIG=ordain.toml",
            Reader::Command => "ORDAIN_CONFIG=ordain.toml",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command};

    use super::super::Config;
    use super::*;

    #[test]
    fn every_option_that_is_refused_is_one() {
        let command = Config::augment_args(Command::new("ordain"));
        let ids: Vec<&str> = command
            .get_arguments()
            .map(|one| one.get_id().as_str())
            .collect();
        for id in NATIVE.iter().chain(TRUST) {
            assert!(ids.contains(id), "{id}");
        }
    }
}
