//! Values of settings, and how they are written, here and in the configuration: switches and times.
//! Each parser says what it would have taken. Not for which setting has which value (`setting`).

use std::fmt;
use std::time::Duration;

/// Longest duration: the component counts milliseconds in 32 bits.
const LONGEST: Duration = Duration::from_millis(u32::MAX as u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    Switch(bool),
    Time(Duration),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Switch(true) => f.write_str("on"),
            Value::Switch(false) => f.write_str("off"),
            Value::Time(time) => {
                let text = humantime::format_duration(*time).to_string();
                f.write_str(&text.replace(' ', ""))
            }
        }
    }
}

pub fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" => Ok(true),
        "false" | "0" | "off" | "no" => Ok(false),
        _ => Err("a switch is one of true, false, 1, 0, on, off, yes, no".to_owned()),
    }
}

pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let duration = humantime::parse_duration(text)
        .map_err(|_| "a duration looks like 250ms, 1s or 15m".to_owned())?;
    if duration.subsec_nanos() % 1_000_000 != 0 || duration > LONGEST {
        return Err("a duration is whole milliseconds, at most 49 days".to_owned());
    }
    Ok(duration)
}
