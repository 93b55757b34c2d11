//! Memory as the system counts it, in bytes: of a process, and what is left for all.

use anyhow::Context as _;

/// Resident memory of a process.
pub fn resident(pid: u32) -> anyhow::Result<i64> {
    let bytes = field(&format!("/proc/{pid}/status"), "VmRSS:")?;
    Ok(i64::try_from(bytes)?)
}

/// What can be taken without pushing anybody out.
pub fn free() -> anyhow::Result<u64> {
    field("/proc/meminfo", "MemAvailable:")
}

fn field(file: &str, name: &'static str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.context(name)?.trim().parse::<u64>()? * 1024)
}
