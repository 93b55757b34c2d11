//! Compiling in a process of its own: this program, started again, with limits of memory and time.
//! It gets a key and a component on standard input, and gives the code back under a seal by that
//! key: what else may come out of the pipe is not run. Not for whether a component is worth it
//! (`weighed`).

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use super::super::bytes::digest;
use super::super::compiled::seal::{SEAL, SealKey};
use super::super::engine::on_demand;

/// The only argument of a process that compiles.
const ARGUMENT: &str = "compile-for-parent";
/// Address space, which bounds memory.
const MEMORY: u64 = 2 << 30;
/// Time of the processor: of a component of ours a few seconds, in a debug build some more.
const SECONDS: u64 = 30;
/// By the clock: it gives way to everything else.
const PATIENCE: Duration = Duration::from_secs(180);
/// Longest code that is taken back.
const CODE_MAX: u64 = 64 << 20;
/// Priority (19 is the lowest).
const NICE: i32 = 10;
/// The first that is ended when memory runs out.
const OOM_SCORE: &str = "1000";
/// How a process ends that says why it does not compile.
const REFUSED: u8 = 3;

/// How a process ends that panics.
const PANICKED: i32 = 101;
/// Between the signal that time is up and the one that ends it.
const GRACE: u64 = 5;

/// This program, if it can be started to compile.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// What came of it.
pub enum Apart {
    Sealed(Vec<u8>, Vec<u8>),
    /// It is no component.
    Refused(String),
    /// It takes more than there is.
    Exceeded(String),
    /// It came to nothing, for no fault of the component: worth another try.
    Failed(String),
    /// No such process can be started here.
    Impossible,
}

/// To be called first in `main`: from then on components are compiled in a process of its own,
/// which is this program. If it was started for that, it does so and has the code to exit with. A
/// program that does not call it compiles in itself.
pub fn compile_apart() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() == Some(OsStr::new(ARGUMENT)) && arguments.next().is_none() {
        return Some(work());
    }
    if let Ok(program) = std::env::current_exe() {
        // Twice is once.
        let _ = PROGRAM.set(program);
    }
    None
}

pub fn apart(bytes: &[u8], key: &SealKey) -> Apart {
    let Some(program) = PROGRAM.get() else {
        return Apart::Impossible;
    };
    match started(program) {
        Ok(child) => outcome(child, bytes, key),
        Err(error) => {
            let error = error.to_string();
            tracing::warn!(
                error,
                "no process can be started to compile in: the component is compiled in this one"
            );
            Apart::Impossible
        }
    }
}

fn started(program: &PathBuf) -> std::io::Result<Child> {
    // By this name it is the program that runs, even if its file was replaced meanwhile.
    let this = PathBuf::from("/proc/self/exe");
    let program = if this.exists() { &this } else { program };
    Command::new(program)
        .arg(ARGUMENT)
        // Secrets are none of its business.
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

fn outcome(mut child: Child, bytes: &[u8], key: &SealKey) -> Apart {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        let _ = child.kill();
        let _ = child.wait();
        return Apart::Impossible;
    };
    let (tell, told) = channel();
    let output = std::thread::scope(|threads| {
        let feed = move || {
            // Closes the pipe when it ends. A process that has ended does not read: its status says
            // why.
            let _ = stdin
                .write_all(key.bytes())
                .and_then(|()| stdin.write_all(bytes));
        };
        let read = move || {
            let mut output = Vec::new();
            let read = stdout.take(CODE_MAX).read_to_end(&mut output);
            // Nobody listens after the time is up.
            let _ = tell.send(read.map(|_| output));
        };
        let thread = || std::thread::Builder::new().name("compile-pipe".to_owned());
        let started = thread()
            .spawn_scoped(threads, feed)
            .and_then(|_| thread().spawn_scoped(threads, read));
        let output = match started {
            Ok(_) => told.recv_timeout(PATIENCE).map_err(|_| {
                Apart::Exceeded(format!(
                    "compiling it takes more than {} s, the most that a component may take",
                    PATIENCE.as_secs()
                ))
            }),
            Err(error) => Err(Apart::Failed(format!("no thread can be started: {error}"))),
        };
        if output.is_err() {
            // Ends those that wait at its pipes.
            let _ = child.kill();
        }
        output
    });
    match (output, child.wait()) {
        (Err(why), _) => why,
        (Ok(Ok(output)), Ok(status)) => told_by(status, output),
        (Ok(Err(error)), _) | (_, Err(error)) => Apart::Failed(error.to_string()),
    }
}

fn told_by(status: ExitStatus, output: Vec<u8>) -> Apart {
    let most = "the most that a component may take";
    if output.len() as u64 >= CODE_MAX {
        return Apart::Exceeded(format!("its code takes {} MiB, {most}", CODE_MAX >> 20));
    }
    if status.success() && output.len() > SEAL {
        let (seal, code) = output.split_at(SEAL);
        return Apart::Sealed(seal.to_vec(), code.to_vec());
    }
    if status.code() == Some(REFUSED.into()) {
        return Apart::Refused(String::from_utf8_lossy(&output).into_owned());
    }
    let ended_by = status.signal().map(Signal::from_named_raw);
    match (status.code(), ended_by.flatten()) {
        (_, Some(Signal::XCPU)) => Apart::Exceeded(format!(
            "compiling it takes more than {SECONDS} s of the processor, {most}"
        )),
        // What cannot be had is asked for no further.
        (_, Some(Signal::ABORT | Signal::SEGV)) => Apart::Exceeded(format!(
            "compiling it takes more than {} MiB of memory, {most}",
            MEMORY >> 20
        )),
        (Some(PANICKED), _) => Apart::Refused("the compiler failed".to_owned()),
        _ => Apart::Failed(format!(
            "the process that compiled it has ended ({status}), for want of memory as a rule"
        )),
    }
}

/// The whole of a process that compiles.
fn work() -> ExitCode {
    limit();
    let mut input = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut input);
    let (Ok(_), Some((key, bytes))) = (read, input.split_at_checked(SEAL)) else {
        return ExitCode::FAILURE;
    };
    let Ok(key) = <[u8; SEAL]>::try_from(key).map(SealKey::of) else {
        return ExitCode::FAILURE;
    };
    let compiled = on_demand().and_then(|engine| {
        let code = engine.precompile_component(bytes)?;
        Ok((key.seal(&digest(bytes), &engine, &code), code))
    });
    let mut out = std::io::stdout().lock();
    let (written, exit) = match compiled {
        Ok((seal, code)) => {
            let written = out.write_all(&seal).and_then(|()| out.write_all(&code));
            (written, ExitCode::SUCCESS)
        }
        Err(error) => {
            let why = format!("{error:#}");
            (out.write_all(why.as_bytes()), ExitCode::from(REFUSED))
        }
    };
    match written.and_then(|()| out.flush()) {
        Ok(()) => exit,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What is refused here is done without: the parent looks at the clock, too.
fn limit() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::process::setpriority_process(None, NICE);
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    for (resource, most, grace) in [
        (Resource::As, MEMORY, 0),
        (Resource::Cpu, SECONDS, GRACE),
        (Resource::Core, 0, 0),
    ] {
        let now = getrlimit(resource);
        let least = |limit: Option<u64>, most| Some(limit.map_or(most, |limit| limit.min(most)));
        let _ = setrlimit(
            resource,
            Rlimit {
                current: least(now.current, most),
                maximum: least(now.maximum, most + grace),
            },
        );
    }
}
