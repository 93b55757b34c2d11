//! How values are written: durations, sizes, switches, modes, names. Each parser says what it would
//! have taken.

use std::ops::RangeInclusive;

use ordain::options::{InstanceMode, SignatureMode};
use ordain::request::EgressMode;
use ordain_store::secret::{Secret, SecretUrl};

pub use ordain_coherence::caches::{duration, switch};

pub fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "kib" => Some(10),
        "mib" => Some(20),
        "gib" => Some(30),
        _ => None,
    };
    digits
        .parse::<u64>()
        .ok()
        .zip(shift)
        .and_then(|(number, shift)| number.checked_mul(1 << shift))
        .ok_or_else(|| "a size looks like 268435456 or 256MiB".to_owned())
}

/// A whole number, also where the parser's own words would speak of digits.
pub fn whole<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim()
        .parse()
        .map_err(|_| "a whole number looks like 50".to_owned())
}

/// One of these.
pub fn within(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let number: u64 = whole(text)?;
    let small = u32::try_from(number).ok();
    small
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{number} is not in {}..={}", range.start(), range.end()))
}

pub fn fraction(text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .map_err(|_| "a number looks like 0.5".to_owned())
}

pub fn mode(text: &str) -> Result<EgressMode, String> {
    match text.trim() {
        "enforce" => Ok(EgressMode::Enforce),
        "report-only" => Ok(EgressMode::ReportOnly),
        "off" => Ok(EgressMode::Off),
        _ => Err("an egress mode is enforce, report-only or off".to_owned()),
    }
}

pub fn instances(text: &str) -> Result<InstanceMode, String> {
    match text.trim() {
        "warm" => Ok(InstanceMode::Warm),
        "fresh" => Ok(InstanceMode::Fresh),
        _ => Err("instances are warm or fresh".to_owned()),
    }
}

pub fn signature(text: &str) -> Result<SignatureMode, String> {
    match text.trim() {
        "optional" => Ok(SignatureMode::Optional),
        "required" => Ok(SignatureMode::Required),
        _ => Err("a signature is optional or required".to_owned()),
    }
}

/// Parts of a comma separated list; empty ones are left out.
pub fn list(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What is set to nothing is not set.
pub fn given(value: &Option<String>) -> Option<String> {
    value.clone().filter(|text| !text.is_empty())
}

pub fn given_secret(value: &Option<Secret>) -> Option<Secret> {
    value.clone().filter(|secret| !secret.is_empty())
}

pub fn given_url(value: &Option<SecretUrl>) -> Option<SecretUrl> {
    value.clone().filter(|url| !url.is_empty())
}
