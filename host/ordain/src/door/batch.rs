//! Many requests in one call. Not for how those of one tenant are answered (`Runtime`).

use std::collections::HashMap;
use std::pin::pin;

use futures::StreamExt;

use super::Ordain;
use crate::answer::{Answer, ResolveError};
use crate::request::{Request, TenantRequest};
use ordain_coherence::Moment;
use ordain_coherence::shares::Shares;
use ordain_store::ids::{Key, Kind, Tenant};

/// Tenants of all batches that are resolved at the same time.
const TENANTS: usize = 32;
/// Batches that may wait for the same tenant: as many as single requests.
const QUEUE: usize = 1024;

/// Places for them: callers take turns, however long their batches are.
pub fn turns() -> Shares {
    Shares::with_queue(TENANTS, TENANTS, QUEUE)
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
        let mut waited = vec![false; requests.len()];
        for (index, item) in requests.iter().enumerate() {
            match self.check_demand(Kind::Policy, item.request.min_revision) {
                Ok(()) => {
                    waited[index] = true;
                    tenants.entry(&item.tenant).or_default().push(index);
                }
                Err(error) => answers[index] = Err(error),
            }
        }
        // One start for all: the request is the batch, and its deadline is that of one request.
        let began = Moment::now();
        let deadline = self.inner.options.request_deadline;
        // What memory holds waits for nobody, and is not late because others are.
        let near = &self.inner.coherence.near;
        let watermark = self.watermark();
        let is_held = |tenant: &Tenant, indices: &[usize]| {
            let mut demands = indices.iter().map(|i| requests[*i].request.min_revision);
            demands.all(|demand| demand <= watermark) && near.peek(&Key::policy(tenant)).is_some()
        };
        let tenants = tenants
            .into_iter()
            .map(|(tenant, indices)| (is_held(tenant, &indices), tenant, indices));
        let mut tenants: Vec<_> = tenants.collect();
        tenants.sort_by_key(|(held, ..)| !held);
        let mut groups = Vec::with_capacity(tenants.len());
        for (held, tenant, indices) in tenants {
            let items: Vec<&Request> = indices.iter().map(|i| &requests[*i].request).collect();
            groups.push(async move {
                let whose = self.charge.share(Some(tenant));
                let turn = match held {
                    true => None,
                    false => match self.inner.batches.take(&whose, deadline).await {
                        None => return (indices, Vec::new()),
                        turn => turn,
                    },
                };
                let runtime = &self.inner.runtime;
                let group = runtime.resolve_batch(whose, began, tenant, &items).await;
                drop(turn);
                (indices, group)
            });
        }
        let mut groups = futures::stream::iter(groups).buffer_unordered(TENANTS);
        let mut over = pin!(tokio::time::sleep(deadline));
        loop {
            // Whoever is late costs nothing more: not even a turn that would have to go round for
            // it.
            let (indices, group) = tokio::select! {
                biased;
                () = &mut over => break,
                next = groups.next() => match next {
                    Some(group) => group,
                    None => break,
                },
            };
            for (index, answer) in indices.into_iter().zip(group) {
                waited[index] = false;
                answers[index] = answer;
            }
        }
        let late = answers.iter().zip(waited).filter(|(_, waited)| *waited);
        for (answer, _) in late {
            let outcome = answer.as_ref().map(|answer| &answer.provenance);
            self.inner.runtime.counts.note(outcome);
        }
        answers
    }
}
