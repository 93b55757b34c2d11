//! What the system lets this process have, and in which words it is told when that is too little:
//! the component is not to blame then. Not for the limits of guests (`capabilities/limits`).

use rustix::process::{Resource, getrlimit};

/// Limit of the address space in bytes; `None`: there is none.
pub fn address_space() -> Option<u64> {
    getrlimit(Resource::As).current
}

/// Which limit it probably was that an error of Wasmtime speaks of.
pub fn hint(error: &str) -> Option<String> {
    let is = |number: i32| error.contains(&format!("(os error {number})"));
    if is(rustix::io::Errno::NOMEM.raw_os_error()) {
        return Some(match address_space() {
            Some(limit) => format!(
                "this process may have {} MiB of address space (RLIMIT_AS, ulimit -v), which is too little",
                limit >> 20
            ),
            None => "the system has no more memory or address space for this process".to_owned(),
        });
    }
    let denied = [rustix::io::Errno::ACCESS, rustix::io::Errno::PERM];
    if denied.iter().any(|errno| is(errno.raw_os_error())) {
        return Some(
            "this process must not make memory executable, which WebAssembly needs: allow it \
             (PR_SET_MDWE, MemoryDenyWriteExecute= of systemd, execmem of SELinux); commands that need no \
             rules work without it"
                .to_owned(),
        );
    }
    None
}

/// There was no memory for one more.
pub fn is_out_of_memory(error: &str) -> bool {
    error.contains(&format!(
        "(os error {})",
        rustix::io::Errno::NOMEM.raw_os_error()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_named_and_nothing_is_guessed() {
        let told = |text: &str| hint(text).unwrap_or_default();
        assert!(told("mmap: Cannot allocate memory (os error 12)").contains("address space"));
        assert!(told("mprotect: Permission denied (os error 13)").contains("PR_SET_MDWE"));
        assert!(told("mprotect: Operation not permitted (os error 1)").contains("PR_SET_MDWE"));
        assert_eq!(hint("unknown import (os error 121)"), None);
        assert_eq!(hint("wasm trap: out of bounds"), None);
    }
}
