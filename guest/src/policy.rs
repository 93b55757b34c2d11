//! The decoded policy: what routing and egress need of a record, in the order that look-ups want.
//! Not the record itself: that is its canonical text, which is never made from this.

use crate::globs::{self, Grams};
use crate::words::EgressMode;

/// First byte of the derived form. Raise it with every change of the types below: bytes of another
/// form are then not read, whatever they would decode to.
const FORMAT: u8 = 3;

/// What a record says, field by field, borrowed from where it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields<'a> {
    pub default_provider: &'a str,
    pub default_model: &'a str,
    pub allow_remote_egress: bool,
    pub egress_mode: Option<EgressMode>,
    pub allow_off_mode: Option<bool>,
    pub tasks: Vec<Candidate<'a>>,
    pub users: Vec<UserPolicy<'a>>,
    /// `None`: everything is allowed. Empty: nothing is.
    pub allowed_models: Option<Vec<&'a str>>,
}

impl<'a> Fields<'a> {
    /// A policy that sends everything to one model.
    pub fn new(default_provider: &'a str, default_model: &'a str) -> Fields<'a> {
        Fields {
            default_provider,
            default_model,
            allow_remote_egress: true,
            egress_mode: None,
            allow_off_mode: None,
            tasks: Vec::new(),
            users: Vec::new(),
            allowed_models: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    pub task: &'a str,
    pub provider: &'a str,
    pub model: &'a str,
    pub temperature: Option<f64>,
    pub max_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UserPolicy<'a> {
    pub user: &'a str,
    pub egress_mode: Option<EgressMode>,
    pub allow_off_mode: Option<bool>,
}

/// A decoded policy: its derived form, read where it lies. Nothing is made of it before it is asked
/// for, so a copy of it costs next to nothing, and a request reads only what it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    bytes: Vec<u8>,
    pub allow_remote_egress: bool,
    pub egress_mode: Option<EgressMode>,
    pub allow_off_mode: Option<bool>,
    /// Candidates sorted by task; those of one task keep their order of preference.
    tasks: Table,
    /// Sorted by user.
    users: Table,
    allowed_models: Option<Table>,
    /// Where the text of the first glob begins: the others follow.
    globs_text: usize,
}

/// Entries of one size, from `start` on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Table {
    start: usize,
    count: usize,
}

// The derived form. Integers are little-endian.
//   header   format u8, flags u8, length of all u32, numbers of tasks, users and globs u32 each,
//            default provider and model (spans), egress mode u8, start of the texts of globs u32
//   tasks    task, provider, model (spans), temperature f64, max tokens u64, flags u8
//   users    user (span), egress mode u8, flags u8
//   globs    end of its text u32, two grams that a match has (see `globs`) u16 each
//   texts    those of globs last, one after the other
// Users who say nothing are left out: they are as if they were not there.
// A span is start u32 and length u32 of a text, counted from the beginning of the bytes.
const SPAN: usize = 8;
const LENGTH: usize = 2;
const DEFAULTS: usize = 18;
const MODE: usize = DEFAULTS + 2 * SPAN;
const GLOBS_TEXT: usize = MODE + 1;
const HEADER: usize = GLOBS_TEXT + 4;
const TASK: usize = 3 * SPAN + 17;
const USER: usize = SPAN + 2;
const GLOB: usize = 8;

/// Flags of the header and of users.
const REMOTE: u8 = 1;
const HAS_OFF: u8 = 2;
const OFF: u8 = 4;
const HAS_GLOBS: u8 = 8;
/// Flags of a task.
const HAS_TEMPERATURE: u8 = 1;
const HAS_MAX_TOKENS: u8 = 2;

impl Policy {
    pub fn pack(fields: Fields<'_>) -> Policy {
        let Fields {
            mut tasks,
            mut users,
            allowed_models,
            allow_remote_egress,
            egress_mode,
            allow_off_mode,
            ..
        } = fields;
        // Stable: candidates of one task stay in order of preference.
        tasks.sort_by_key(|candidate| candidate.task);
        users.retain(|entry| entry.egress_mode.is_some() || entry.allow_off_mode.is_some());
        users.sort_by_key(|entry| entry.user);
        let has_globs = if allowed_models.is_some() {
            HAS_GLOBS
        } else {
            0
        };
        let globs = globs::compile(allowed_models.unwrap_or_default());
        let mut end = HEADER;
        let mut table = |count: usize, size: usize| {
            let start = end;
            end += count * size;
            Table { start, count }
        };
        let (tasks_at, users_at, globs_at) = (
            table(tasks.len(), TASK),
            table(users.len(), USER),
            table(globs.len(), GLOB),
        );
        let mut packed = Packed {
            bytes: Vec::with_capacity(2 * end),
            texts: Vec::new(),
            before: end,
        };
        let remote = if allow_remote_egress { REMOTE } else { 0 };
        let flags = remote | has_globs | off_flags(allow_off_mode);
        packed.bytes.extend([FORMAT, flags, 0, 0, 0, 0]);
        for table in [tasks_at, users_at, globs_at] {
            packed.number(table.count);
        }
        packed.span(fields.default_provider);
        packed.span(fields.default_model);
        packed.bytes.push(mode_byte(egress_mode));
        packed.number(0);
        tasks
            .iter()
            .for_each(|candidate| packed.candidate(candidate));
        for entry in &users {
            packed.span(entry.user);
            let mode = mode_byte(entry.egress_mode);
            packed.bytes.extend([mode, off_flags(entry.allow_off_mode)]);
        }
        let globs_text = packed.before + packed.texts.len();
        packed.bytes[GLOBS_TEXT..HEADER].copy_from_slice(&(globs_text as u32).to_le_bytes());
        for (glob, grams) in &globs {
            packed.texts.extend(glob.as_bytes());
            packed.number(packed.before + packed.texts.len());
            grams
                .iter()
                .for_each(|gram| packed.bytes.extend(gram.to_le_bytes()));
        }
        Policy {
            bytes: packed.whole(),
            allow_remote_egress,
            egress_mode,
            allow_off_mode,
            tasks: tasks_at,
            users: users_at,
            allowed_models: (has_globs != 0).then_some(globs_at),
            globs_text,
        }
    }

    pub fn default_provider(&self) -> &str {
        self.text(DEFAULTS)
    }

    pub fn default_model(&self) -> &str {
        self.text(DEFAULTS + SPAN)
    }

    /// The candidates of a task, best first.
    pub fn candidates<'a>(&'a self, task: &'a str) -> impl Iterator<Item = Candidate<'a>> {
        let first = self.first_not_below(self.tasks, TASK, task);
        let places = (first..self.tasks.count).map(|index| self.tasks.start + index * TASK);
        places
            .take_while(move |at| self.raw(*at) == task.as_bytes())
            .map(move |at| {
                let numbers = at + 3 * SPAN;
                let flags = self.byte(numbers + 16);
                let temperature = f64::from_bits(self.u64(numbers));
                Candidate {
                    task,
                    provider: self.text(at + SPAN),
                    model: self.text(at + 2 * SPAN),
                    temperature: (flags & HAS_TEMPERATURE != 0).then_some(temperature),
                    max_tokens: (flags & HAS_MAX_TOKENS != 0).then(|| self.u64(numbers + 8)),
                }
            })
    }

    pub fn user<'a>(&'a self, user: &'a str) -> Option<UserPolicy<'a>> {
        let index = self.first_not_below(self.users, USER, user);
        if index >= self.users.count {
            return None;
        }
        let at = self.users.start + index * USER;
        (self.raw(at) == user.as_bytes()).then(|| UserPolicy {
            user,
            egress_mode: mode(self.byte(at + SPAN)),
            allow_off_mode: off(self.byte(at + SPAN + 1)),
        })
    }

    /// Whether `allowedModels` has an entry that this model of this provider matches, or is absent.
    pub fn allows(&self, provider: &str, model: &str) -> bool {
        let Some(table) = self.allowed_models else {
            return true;
        };
        if table.count <= globs::FEW {
            let mut all = self.globs(table, None);
            return all.any(|glob| globs::allows(glob, provider, model));
        }
        // Most of many are passed over without looking at them.
        let name = [provider, "/", model].concat();
        let grams = Grams::of(&name);
        let mut some = self.globs(table, Some(&grams));
        some.any(|glob| globs::matches(glob, &name))
    }

    /// The globs, or those that a text of these grams may match.
    fn globs<'a>(&'a self, table: Table, grams: Option<&Grams>) -> impl Iterator<Item = &'a str> {
        let end = table.start + table.count * GLOB;
        let entries = self.bytes.get(table.start..end).unwrap_or_default();
        let mut next = self.globs_text;
        entries.chunks_exact(GLOB).filter_map(move |entry| {
            let number = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            let end = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]) as usize;
            let start = std::mem::replace(&mut next, end);
            if grams.is_some_and(|grams| !(grams.has(number(4)) && grams.has(number(6)))) {
                return None;
            }
            let text = self.bytes.get(start..end).unwrap_or_default();
            Some(std::str::from_utf8(text).unwrap_or_default())
        })
    }

    /// Index of the first entry whose name is not below this one, in a table sorted by name.
    fn first_not_below(&self, table: Table, size: usize, name: &str) -> usize {
        let (mut low, mut high) = (0, table.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.raw(table.start + middle * size) < name.as_bytes() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The text whose span is at `at`; empty if it lies outside or is none, which only damaged
    /// bytes could have.
    fn text(&self, at: usize) -> &str {
        std::str::from_utf8(self.raw(at)).unwrap_or_default()
    }

    fn raw(&self, at: usize) -> &[u8] {
        let span = u32_at(&self.bytes, at).zip(u32_at(&self.bytes, at + 4));
        let (start, length) = span.unwrap_or_default();
        let rest = self.bytes.get(start as usize..).unwrap_or_default();
        rest.get(..length as usize).unwrap_or_default()
    }

    fn u64(&self, at: usize) -> u64 {
        let bytes = self.bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// The derived form: compact bytes for the slot beside a near entry (D2).
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads the derived form; nothing if the bytes are not exactly one policy of this form.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Policy> {
        let (format, flags) = (*bytes.first()?, *bytes.get(1)?);
        if format != FORMAT || u32_at(&bytes, LENGTH)? as usize != bytes.len() {
            return None;
        }
        let mut end = HEADER;
        let mut table = |at: usize, size: usize| {
            let count = u32_at(&bytes, at)? as usize;
            let start = end;
            end = start.checked_add(count.checked_mul(size)?)?;
            (end <= bytes.len()).then_some(Table { start, count })
        };
        let tasks = table(6, TASK)?;
        let users = table(10, USER)?;
        let globs = table(14, GLOB)?;
        Some(Policy {
            allow_remote_egress: flags & REMOTE != 0,
            egress_mode: mode(*bytes.get(MODE)?),
            allow_off_mode: off(flags),
            tasks,
            users,
            allowed_models: (flags & HAS_GLOBS != 0).then_some(globs),
            globs_text: u32_at(&bytes, GLOBS_TEXT)? as usize,
            bytes,
        })
    }

    /// Bytes of memory that a decoded copy takes, roughly.
    pub fn weight(&self) -> usize {
        size_of::<Policy>() + self.bytes.capacity()
    }
}

/// Bytes that are being written, and the texts that will follow them.
struct Packed {
    bytes: Vec<u8>,
    texts: Vec<u8>,
    /// What precedes the texts, in the end.
    before: usize,
}

impl Packed {
    fn number(&mut self, number: usize) {
        // A record, and so all that is counted here, is far below 4 GiB.
        self.bytes.extend((number as u32).to_le_bytes());
    }

    fn span(&mut self, text: &str) {
        self.number(self.before + self.texts.len());
        self.number(text.len());
        self.texts.extend(text.as_bytes());
    }

    fn candidate(&mut self, candidate: &Candidate<'_>) {
        self.span(candidate.task);
        self.span(candidate.provider);
        self.span(candidate.model);
        let temperature = candidate.temperature.unwrap_or(0.0).to_bits();
        self.bytes.extend(temperature.to_le_bytes());
        let max_tokens = candidate.max_tokens.unwrap_or(0);
        self.bytes.extend(max_tokens.to_le_bytes());
        let temperature = candidate.temperature.map_or(0, |_| HAS_TEMPERATURE);
        let max_tokens = candidate.max_tokens.map_or(0, |_| HAS_MAX_TOKENS);
        self.bytes.push(temperature | max_tokens);
    }

    fn whole(mut self) -> Vec<u8> {
        self.bytes.append(&mut self.texts);
        let length = (self.bytes.len() as u32).to_le_bytes();
        self.bytes[LENGTH..LENGTH + 4].copy_from_slice(&length);
        self.bytes
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn mode(byte: u8) -> Option<EgressMode> {
    match byte {
        1 => Some(EgressMode::Enforce),
        2 => Some(EgressMode::ReportOnly),
        3 => Some(EgressMode::Off),
        _ => None,
    }
}

fn mode_byte(mode: Option<EgressMode>) -> u8 {
    match mode {
        None => 0,
        Some(EgressMode::Enforce) => 1,
        Some(EgressMode::ReportOnly) => 2,
        Some(EgressMode::Off) => 3,
    }
}

fn off(flags: u8) -> Option<bool> {
    (flags & HAS_OFF != 0).then_some(flags & OFF != 0)
}

fn off_flags(allowed: Option<bool>) -> u8 {
    match allowed {
        None => 0,
        Some(false) => HAS_OFF,
        Some(true) => HAS_OFF | OFF,
    }
}

#[cfg(test)]
mod tests;
