//! Many requests in one call. Not for how those of one tenant are answered (`Runtime`).

use std::collections::HashMap;

use super::Ordain;
use crate::answer::{Answer, ResolveError};
use crate::coherence::Moment;
use crate::ids::Kind;
use crate::request::{Request, TenantRequest};
use crate::shares::Shares;
use futures::StreamExt;

/// Tenants of all batches that are resolved at the same time.
const TENANTS: usize = 32;

/// Places for them: callers take turns, however long their batches are.
pub fn turns() -> Shares {
    Shares::new(TENANTS, TENANTS)
}

impl Ordain {
    /// Resolves many, answered in order. The requests of one tenant are answered by one call of
    /// the guest, tenants side by side.
    pub async fn resolve_batch(
        &self,
        requests: Vec<TenantRequest>,
    ) -> Vec<Result<Answer, ResolveError>> {
        let mut tenants: HashMap<_, Vec<usize>> = HashMap::new();
        let mut answers: Vec<_> = requests.iter().map(|_| Err(ResolveError::Late)).collect();
        for (index, item) in requests.iter().enumerate() {
            match self.check_demand(Kind::Policy, item.request.min_revision) {
                Ok(()) => tenants.entry(&item.tenant).or_default().push(index),
                Err(error) => answers[index] = Err(error),
            }
        }
        // One start for all: the request is the batch, and its deadline is that of one request.
        let began = Moment::now();
        let deadline = self.inner.options.request_deadline;
        let mut groups = Vec::with_capacity(tenants.len());
        for (tenant, indices) in tenants {
            let items: Vec<&Request> = indices.iter().map(|i| &requests[*i].request).collect();
            groups.push(async move {
                let whose = self.charge.share(Some(tenant));
                let left = deadline.saturating_sub(Moment::now().since(began));
                let turn = self.inner.batches.take(&whose, left).await;
                // Whoever is late already costs nothing more.
                let group = match turn {
                    None => indices.iter().map(|_| Err(ResolveError::Late)).collect(),
                    Some(_turn) => {
                        let runtime = &self.inner.runtime;
                        runtime.resolve_batch(whose, began, tenant, &items).await
                    }
                };
                (indices, group)
            });
        }
        let mut groups = futures::stream::iter(groups).buffer_unordered(TENANTS);
        while let Some((indices, group)) = groups.next().await {
            for (index, answer) in indices.into_iter().zip(group) {
                answers[index] = answer;
            }
        }
        answers
    }
}
