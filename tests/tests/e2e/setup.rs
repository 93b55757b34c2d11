//! What `tests/setup.sh` does to a machine beside installing: with an apt that is none, so that
//! nothing is installed here.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/setup.sh");
/// Notes whether Debian would start a service now.
const APT: &str = "#!/bin/sh
[ \"$1\" = install ] || exit 0
if \"$POLICY_RC_D\"; then echo started; else echo denied; fi >>\"$NOTES\"
exit \"$APT_CODE\"
";

/// A machine that lacks all servers.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let folder = tempfile::tempdir().expect("a folder");
        let machine = Machine { folder };
        for name in ["sh", "cat", "chmod", "rm", "ls"] {
            let real = ["/bin", "/usr/bin"].map(|folder| Path::new(folder).join(name));
            let real = real.iter().find(|path| path.exists()).expect(name);
            symlink(real, machine.path(name)).expect("the folder is ours");
        }
        machine.program("apt-get", APT);
        machine.program("id", "#!/bin/sh\necho 0\n");
        machine.program("update-rc.d", "#!/bin/sh\necho \"$@\" >>\"$NOTES\"\n");
        for name in ["apt-cache", "cargo", "cc", "make", "pkg-config", "curl"] {
            machine.program(name, "#!/bin/sh\n");
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::write(&path, text).expect("the folder is ours");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path, mode).expect("the file is ours");
    }

    /// Whether it is set up, and what its apt and its init system were asked.
    fn set_up(&self, apt_code: &str) -> (bool, String) {
        let notes = self.path("notes");
        let output = Command::new("/bin/sh")
            .args([SCRIPT, "servers"])
            .env_clear()
            .env("PATH", self.folder.path())
            .env("POLICY_RC_D", self.path("policy-rc.d"))
            .env("NOTES", &notes)
            .env("APT_CODE", apt_code)
            .output()
            .expect("sh can be started");
        let noted = std::fs::read_to_string(notes).unwrap_or_default();
        (output.status.success(), format!("{noted}{output:?}"))
    }
}

#[test]
fn no_service_is_started_that_the_tests_need_only_the_program_of() {
    let machine = Machine::new();
    let (done, noted) = machine.set_up("0");
    assert!(done, "{noted}");
    for line in ["denied", "redis-server disable"] {
        assert!(noted.lines().any(|noted| noted == line), "{line}: {noted}");
    }
    assert!(!machine.path("policy-rc.d").exists(), "it is left behind");

    let machine = Machine::new();
    let (done, noted) = machine.set_up("100");
    assert!(!done && noted.starts_with("denied"), "{noted}");
    assert!(!machine.path("policy-rc.d").exists(), "it is left behind");
}

#[test]
fn a_rule_that_the_machine_has_for_services_stays_as_it_is() {
    let machine = Machine::new();
    let own = "#!/bin/sh\nexit 0\n";
    machine.program("policy-rc.d", own);
    let (done, noted) = machine.set_up("0");
    assert!(done && noted.starts_with("started"), "{noted}");
    let left = std::fs::read_to_string(machine.path("policy-rc.d"));
    assert_eq!(left.ok().as_deref(), Some(own));
}
