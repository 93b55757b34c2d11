//! The upkeep of the log in memory: settings of the fleet, purges and prunes, by the rules that the
//! second migration has for Postgres.

use std::time::SystemTime;

use super::State;
use crate::ids::Tenant;
use crate::{
    Attribution, EVERYTHING, FleetSetting, LOG, PRUNE, PURGE, Pruned, SETTING, WriteError,
};

/// Longest name and value of a setting in bytes, as the CHECKs in Postgres have them.
const NAME_LIMIT: usize = 63;
const VALUE_LIMIT: usize = 200;

/// What the CHECKs of Postgres refuse.
fn check(name: &str, value: &str) -> Result<(), WriteError> {
    let rejected = |why: String| Err(WriteError::Rejected(why));
    let letters = |c: u8| c.is_ascii_lowercase() || c == b'.' || c == b'-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || name.len() > NAME_LIMIT
        || !name.bytes().all(letters)
    {
        return rejected(format!(
            "the name of a setting has 1 to {NAME_LIMIT} characters of a-z, . and -"
        ));
    }
    if value.len() > VALUE_LIMIT || value.contains('\0') {
        return rejected(format!(
            "the value of a setting is text of at most {VALUE_LIMIT} bytes"
        ));
    }
    if name.starts_with("cache") && !["on", "off"].contains(&value) {
        return rejected(format!("{name} is on or off"));
    }
    Ok(())
}

impl State {
    pub fn set_settings(
        &mut self,
        changes: &[(String, Option<String>)],
        only_if: &[(String, Option<String>)],
        by: &Attribution,
    ) -> Result<Option<u64>, WriteError> {
        let holds = only_if.iter().all(|(name, expected)| {
            self.settings.get(name).map(|setting| &setting.value) == expected.as_ref()
        });
        if !holds {
            return Err(WriteError::Precondition { current: None });
        }
        changes.iter().try_for_each(|(name, value)| match value {
            Some(value) => check(name, value),
            None => Ok(()),
        })?;
        let mut last = None;
        for (name, value) in changes {
            let op = match value {
                Some(_) => "put",
                None if self.settings.contains_key(name) => "delete",
                None => continue,
            };
            let subject = format!("{SETTING}{name}");
            let revision = self.log(None, &subject, op, value.clone(), by);
            match value.clone() {
                Some(value) => {
                    let setting = FleetSetting {
                        name: name.clone(),
                        value,
                        revision,
                    };
                    self.settings.insert(name.clone(), setting);
                }
                None => {
                    self.settings.remove(name);
                }
            }
            last = Some(revision);
        }
        Ok(last)
    }

    pub fn purge(&mut self, tenant: Option<&Tenant>, by: &Attribution) -> u64 {
        let tenant = tenant.map(Tenant::as_str);
        self.log(tenant, EVERYTHING, PURGE, None, by)
    }

    /// The oldest rows up to the first that is young enough to stay. Not by age alone: a clock that
    /// was put back must not make a hole in the log, which no host would notice.
    pub fn prune(&mut self, before: SystemTime, keep: u32, by: &Attribution) -> Pruned {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX).max(1);
        // Records of prunes do not count: or each of many prunes would push one more row out.
        let counted = self
            .changes
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, change)| change.entry.op != PRUNE);
        let stays = counted.map(|(index, _)| index).nth(keep - 1);
        let old = self.changes.iter().take(stays.unwrap_or(0));
        let rows = old.take_while(|change| change.at < before).count();
        let Some(last) = rows.checked_sub(1) else {
            return Pruned {
                rows: 0,
                revision: None,
            };
        };
        let through = self.changes[last].entry.revision;
        self.changes.drain(..rows);
        let body = format!(r#"{{"rows":{rows},"through":{through}}}"#);
        Pruned {
            rows: rows as u64,
            revision: Some(self.log(None, LOG, PRUNE, Some(body), by)),
        }
    }
}
