//! Changing the settings of the caches: for the whole fleet through the log (rule D1), or for this
//! instance alone. Not for what settings there are (`caches` of `ordain_coherence`).

use super::Ordain;
use ordain_coherence::Moment;
use ordain_coherence::caches::{Setting, Value, ValueError};
use ordain_coherence::shares::Whose;
use ordain_store::{Attribution, WriteError};

impl Ordain {
    /// Sets settings for the whole fleet, or removes what the fleet says of them (`None`). Every
    /// instance obeys when its feed has come to the returned revision; this one has, as a rule,
    /// when this returns. `None`: nothing had to be changed.
    pub async fn set_settings(
        &self,
        changes: &[(Setting, Option<Value>)],
        by: &Attribution,
    ) -> Result<Option<u64>, WriteError> {
        for (setting, value) in changes {
            if let Some(value) = value {
                let checked = self.inner.caches.check(*setting, *value);
                checked.map_err(|error| WriteError::Rejected(error.to_string()))?;
            }
        }
        let began = Moment::now();
        let rows: Vec<(String, Option<String>)> = changes
            .iter()
            .map(|(setting, value)| {
                let value = value.map(|value| value.to_string());
                (setting.name().to_owned(), value)
            })
            .collect();
        if rows.is_empty() {
            return Ok(None);
        }
        let origin = self.inner.origin.clone();
        let by = by.clone();
        let revision = self
            .run_write(Whose::Operator, async move {
                origin.set_settings(&rows, &[], &by).await
            })
            .await?;
        if let Some(revision) = revision {
            let any_age = Moment::now().minus(self.inner.options.stale_limit);
            // What was committed is reported in time, obeyed here yet or not.
            let left = self.inner.options.request_deadline / 2;
            let limit = self.inner.options.feed_deadline;
            let limit = limit.min(left.saturating_sub(Moment::now().since(began)));
            self.inner.coherence.wait(revision, any_age, limit).await;
        }
        Ok(revision)
    }

    /// Overrides settings on this instance until it ends, or lets go of an override (`None`). Needs
    /// no origin.
    pub fn override_settings(
        &self,
        changes: &[(Setting, Option<Value>)],
    ) -> Result<(), ValueError> {
        if self.inner.caches.set_local(changes)? {
            self.inner.coherence.empty_near();
        }
        Ok(())
    }
}
