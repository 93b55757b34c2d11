//! What touches more than one key: logged purges of a tenant or of all (rule F4), and the fences of
//! hosts that purged (N4). Kept beside the keys, not under each: there are few, and a tenant's keys
//! are not known here.

use std::collections::HashMap;
use std::sync::MutexGuard;

use super::{Coherence, FENCES_MAX, Rows, Stripe, lock};
use crate::clock::Moment;
use ordain_store::ids::{Key, Tenant};
use ordain_store::{EVERYTHING, LogRow, PURGE};

/// The key that a row touches; one with the subject `*` stands for all of its tenant, and `None`
/// for all keys.
pub fn key_of(row: &LogRow) -> Option<Key> {
    let tenant = match &row.tenant {
        None => None,
        // A row that names what cannot be a tenant touches no key that we could hold; dropping
        // everything is the safe reading of a log that we do not understand.
        Some(tenant) => Some(Tenant::new(tenant).ok()?),
    };
    let subject = if row.op == PURGE || row.subject == EVERYTHING {
        tenant.as_ref()?;
        EVERYTHING
    } else {
        row.subject.as_str()
    };
    Some(Key {
        tenant,
        subject: subject.into(),
    })
}

/// The tenant whose keys all are meant.
pub fn tenant_of(key: &Key) -> Option<&Tenant> {
    key.tenant.as_ref().filter(|_| &*key.subject == EVERYTHING)
}

impl Rows {
    pub fn push(&mut self, position: u64, key: Option<Key>) {
        match key.as_ref().map(tenant_of) {
            None => self.all = position,
            Some(None) => {}
            Some(Some(tenant)) => {
                self.tenants.insert(tenant.clone(), position);
            }
        }
        self.rows.push_back((position, key));
    }

    /// Takes the oldest row out. A purge needs not be remembered longer: no value from before the
    /// floor passes V.
    pub fn pop(&mut self) -> Option<(u64, Option<Key>)> {
        let oldest = self.rows.pop_front()?;
        let tenant = oldest.1.as_ref().and_then(tenant_of);
        if let Some(tenant) = tenant.filter(|tenant| self.tenants.get(tenant) == Some(&oldest.0)) {
            self.tenants.remove(tenant);
        }
        Some(oldest)
    }

    /// Highest position that touches the key among others.
    pub fn wide(&self, key: &Key) -> u64 {
        let tenant = key.tenant.as_ref();
        let of_tenant = tenant.and_then(|tenant| self.tenants.get(tenant));
        self.all.max(of_tenant.copied().unwrap_or(0))
    }
}

impl Coherence {
    /// Position below which no value of the key is taken, by a fence that it shares with others.
    pub(super) fn wide_fence(&self, key: &Key) -> u64 {
        let all = lock(&self.fence_all).map_or(0, |(fence, _)| fence);
        let tenants = lock(&self.fence_tenants);
        let of_tenant = key.tenant.as_ref().and_then(|tenant| tenants.get(tenant));
        all.max(of_tenant.map_or(0, |(fence, _)| *fence))
    }

    /// Learns of a purge of a tenant, or of all, before the feed does: this host's own (rule N4).
    /// Wakes the feed.
    pub fn raise_wide_fence(&self, tenant: Option<&Tenant>, position: u64) {
        let now = Moment::now();
        let raised = tenant.is_some_and(|tenant| {
            let mut fences: MutexGuard<'_, HashMap<_, _>> = lock(&self.fence_tenants);
            let room = fences.len() < FENCES_MAX || fences.contains_key(tenant);
            if room {
                let fence = fences.entry(tenant.clone()).or_insert((position, now));
                *fence = (fence.0.max(position), now);
            }
            room
        });
        if !raised {
            let mut all = lock(&self.fence_all);
            *all = Some((all.map_or(0, |(fence, _)| fence).max(position), now));
        }
        self.drop_near(tenant.filter(|_| raised), position);
        self.wake();
    }

    /// Drops what was read as of an earlier position: of a tenant, or of all. Holds all stripes, so
    /// that nothing is still on its way into near that was judged before (rule N3): what is to
    /// refuse it must be in place.
    pub(super) fn drop_near(&self, tenant: Option<&Tenant>, position: u64) {
        let _stripes: Vec<MutexGuard<'_, Stripe>> = self.stripes.iter().map(lock).collect();
        match tenant {
            Some(tenant) => self.near.remove_tenant(tenant, position),
            None => self.near.clear(),
        }
    }

    #[cfg(test)]
    pub fn tenants_purged(&self) -> usize {
        let rows = self.rows.read();
        rows.unwrap_or_else(std::sync::PoisonError::into_inner)
            .tenants
            .len()
    }

    /// The part of `prove` that concerns shared fences.
    pub(super) fn prove_wide(&self, sent: Moment) {
        lock(&self.fence_all).take_if(|(_, set)| *set < sent);
        lock(&self.fence_tenants).retain(|_, (_, set)| *set >= sent);
    }
}
