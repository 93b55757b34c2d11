//! Ends servers when the test process ends, by whatever means: a shell waits for the end of a pipe
//! whose other end only this process holds, and then cleans up. Also signals to whole servers.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Ends the server whose process id is in the first line of a file, its children too (Postgres
/// gives each a session of its own), and removes the folder.
const SCRIPT: &str = r#"
read -r _
pid=$(head -n 1 "$1" 2>/dev/null)
if [ -n "$pid" ]; then
    victims=$pid
    for stat in /proc/[0-9]*/stat; do
        { read -r line < "$stat"; } 2>/dev/null || continue
        set -- "$1" "$2" ${line##*) }
        [ "$4" = "$pid" ] && { child=${stat#/proc/}; victims="$victims ${child%/stat}"; }
    done
    kill -KILL $victims 2>/dev/null
fi
for try in 1 2 3 4 5; do
    rm -rf "$2" 2>/dev/null && break
    sleep 0.1
done
"#;

/// Dropped, it ends the server and waits until all is gone.
pub struct Guard {
    shell: Child,
    pub folder: PathBuf,
    pid_file: PathBuf,
}

impl Guard {
    pub fn new(folder: &Path, pid_file: &Path) -> Guard {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .args([pid_file, folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C ends the tests; the shell has work to do then.
            .process_group(0)
            .spawn()
            .expect("there is a shell");
        Guard {
            shell,
            folder: folder.to_owned(),
            pid_file: pid_file.to_owned(),
        }
    }

    /// To the server and its children.
    pub fn signal(&self, signal: Signal) {
        for pid in self.processes() {
            // A process that has ended in the meantime needs no signal.
            let _ = kill_process(pid, signal);
        }
    }

    fn processes(&self) -> Vec<Pid> {
        let text = std::fs::read_to_string(&self.pid_file).unwrap_or_default();
        let server: i32 = text
            .lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .unwrap_or(0);
        if server <= 1 {
            // It does not run; everything is a child of somebody else's.
            return Vec::new();
        }
        let children = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
                let mut stat = String::new();
                std::fs::File::open(entry.path().join("stat"))
                    .ok()?
                    .read_to_string(&mut stat)
                    .ok()?;
                // After the name in brackets: state, parent.
                let parent: i32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
                (parent == server).then_some(pid)
            });
        // The server first, lest it starts further children.
        std::iter::once(server)
            .chain(children)
            .filter_map(Pid::from_raw)
            .collect()
    }

    /// Ends the server and its children, and waits until they are gone.
    pub fn kill(&self) {
        let processes = self.processes();
        self.signal(Signal::KILL);
        poll("the server to end", || {
            processes.iter().all(|pid| !alive(*pid))
        });
        // Whoever inherits a dead process may be slow to see to it; until then it has its number,
        // and a new server would take the old one for alive.
        let _ = std::fs::remove_file(&self.pid_file);
    }
}

/// A zombie does nothing more; its parent, perhaps not we, will see to it.
fn alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| {
        !stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'))
    })
}

/// Polls until something holds, for 30 seconds at most.
pub fn poll(what: &str, mut holds: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !holds() {
        assert!(
            std::time::Instant::now() < until,
            "waited 30 s in vain for {what}"
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Nothing can be done about a shell that fails.
        let _ = self.shell.wait();
    }
}
