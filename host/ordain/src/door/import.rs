//! Many policies in one go: in transactions that are short, so that other writes go on between
//! them. Not for what an import looks like from outside: `http` and `cli` of the server.

use std::sync::Arc;
use std::time::Duration;

use super::{ImportError, Ordain};
use ordain_coherence::Moment;
use ordain_coherence::shares::{Place, Whose};
use ordain_store::ids::{Key, Tenant};
use ordain_store::{Attribution, WriteError, WrittenMany};

/// Text of one transaction, at most: what is stored in about 100 ms, for which all other writes
/// wait (O2).
const CHUNK: (usize, usize) = (16 << 10, 1 << 20);
/// What a policy costs beside its text.
const ROW: usize = 2 << 10;
/// A transaction that took longer makes the next ones shorter, one that took less than half of it
/// longer.
const MOMENT: Duration = Duration::from_millis(100);
/// How often a transaction is tried again that others were in the way of, and the first pause.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(100);

/// Stores policies one after the other; what is added is stored by and by, and by `flush`.
pub struct Importer {
    ordain: Ordain,
    by: Attribution,
    chunk: Vec<(Tenant, Arc<str>)>,
    bytes: usize,
    most: usize,
    told: Imported,
    _place: Place,
}

/// What has become of an import so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Policies that were written.
    pub stored: usize,
    /// Those that were stored as they are given, and were left alone.
    pub unchanged: usize,
    /// By which all of these are stored.
    pub revision: u64,
}

impl Imported {
    /// Policies that are stored now, whoever has stored them.
    pub fn settled(&self) -> usize {
        self.stored + self.unchanged
    }
}

impl Ordain {
    /// Validates all, then stores all, in several transactions. Nothing is stored if one record is
    /// not valid. `progress` is told how many are settled; after an error, the same import can be
    /// run again: what is stored already stays as it is.
    pub async fn import(
        &self,
        policies: &[(Tenant, String)],
        by: &Attribution,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Imported, ImportError> {
        let mut valid = Vec::with_capacity(policies.len());
        let mut invalid = Vec::new();
        for (index, (tenant, record)) in policies.iter().enumerate() {
            match self.validate(None, record).await {
                Ok(body) => valid.push((tenant.clone(), Arc::<str>::from(body))),
                Err(error) => invalid.push((index, error)),
            }
        }
        if !invalid.is_empty() {
            return Err(ImportError::Invalid(invalid));
        }
        let write = |stored, cause| ImportError::Write { stored, cause };
        let importer = self.importer(by.clone());
        let mut importer = importer.map_err(|cause| write(0, cause))?;
        for (tenant, body) in valid {
            let stored = importer.told.settled();
            match importer.add(tenant, body).await {
                Ok(true) => progress(importer.told.settled()),
                Ok(false) => {}
                Err(cause) => return Err(write(stored, cause)),
            }
        }
        let stored = importer.told.settled();
        let flushed = importer.flush().await;
        flushed.map_err(|cause| write(stored, cause))?;
        progress(importer.told.settled());
        Ok(importer.told)
    }

    /// Begins an import; `Busy` while another one runs on this host.
    pub fn importer(&self, by: Attribution) -> Result<Importer, WriteError> {
        let place = self.inner.direct.imports.try_take(&Whose::Operator);
        Ok(Importer {
            ordain: self.clone(),
            by,
            chunk: Vec::new(),
            bytes: 0,
            most: CHUNK.1,
            told: Imported {
                revision: self.watermark(),
                ..Imported::default()
            },
            _place: place.ok_or(WriteError::Busy)?,
        })
    }

    async fn put_many(
        &self,
        chunk: Arc<[(Tenant, Arc<str>)]>,
        by: Attribution,
    ) -> Result<WrittenMany, WriteError> {
        let inner = self.inner.clone();
        self.run_write(Whose::Operator, async move {
            let put = inner.origin.put_many(&chunk, &by).await?;
            for (tenant, _) in &*chunk {
                let key = Key::policy(tenant);
                inner.coherence.raise_fence(&key, put.revision);
            }
            Ok(put)
        })
        .await
    }
}

impl Importer {
    pub fn told(&self) -> Imported {
        self.told
    }

    /// Takes a valid record in its canonical form. True: everything before this one is stored now.
    pub async fn add(&mut self, tenant: Tenant, body: Arc<str>) -> Result<bool, WriteError> {
        let size = body.len() + ROW;
        let full = !self.chunk.is_empty() && self.bytes + size > self.most;
        if full {
            self.flush().await?;
        }
        self.bytes += size;
        self.chunk.push((tenant, body));
        Ok(full)
    }

    /// Stores what was added since the last time.
    pub async fn flush(&mut self) -> Result<(), WriteError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk: Arc<[_]> = std::mem::take(&mut self.chunk).into();
        self.bytes = 0;
        let mut tries = 0;
        loop {
            let began = Moment::now();
            match self.ordain.put_many(chunk.clone(), self.by.clone()).await {
                Ok(put) => {
                    self.told.revision = put.revision;
                    self.told.stored += put.written;
                    self.told.unchanged += chunk.len().saturating_sub(put.written);
                    self.most = paced(self.most, Moment::now().since(began));
                    return Ok(());
                }
                Err(WriteError::Busy) if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(PAUSE * tries).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Text of the next transaction, after one of `most` took so long.
fn paced(most: usize, took: Duration) -> usize {
    let next = match took {
        took if took > MOMENT => most / 2,
        took if took < MOMENT / 2 => most * 2,
        _ => most,
    };
    next.clamp(CHUNK.0, CHUNK.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_of_an_import_follow_the_time_that_they_take() {
        let mut most = CHUNK.1;
        for _ in 0..20 {
            most = paced(most, MOMENT * 3);
        }
        assert_eq!(most, CHUNK.0);
        assert_eq!(paced(most, MOMENT), CHUNK.0);
        for _ in 0..20 {
            most = paced(most, MOMENT / 10);
        }
        assert_eq!(most, CHUNK.1);
    }
}
