//! What callers ask of a runtime: decisions, effective configs, and whether a record is valid.
//! Counts what is answered, and offers decisions to a candidate in the shadow. Not for how the
//! component is called (`judge`, `attempt`).

use std::borrow::Cow;
use std::sync::Arc;

use super::generation::Generation;
use super::runtime::Runtime;
use crate::answer::{Answer, ResolveError};
use crate::calls::{
    Checked, Compared, GetEffective, InvalidRecord, Resolve, ResolveBatch, read_answer,
    read_checked, read_effective,
};
use crate::capabilities::Call;
use crate::effective::EffectiveConfig;
use crate::request::Request;
use ordain_coherence::shares::Whose;
use ordain_coherence::{Entry, Moment};
use ordain_store::ids::Tenant;

/// Ticks that the guest may compute through without a break for the thread that it is on: then it
/// goes on where it yields to others.
const PROMPT_TICKS: u32 = 1;

impl Runtime {
    pub async fn resolve(
        &self,
        whose: Whose,
        tenant: &Tenant,
        request: &Request,
    ) -> Result<Answer, ResolveError> {
        let answer = self.answer(whose, tenant, request).await;
        self.counts.note(answer.as_ref().map(|a| &a.provenance));
        answer
    }

    async fn answer(
        &self,
        whose: Whose,
        tenant: &Tenant,
        request: &Request,
    ) -> Result<Answer, ResolveError> {
        if !self.is_open() {
            return Err(ResolveError::Unavailable);
        }
        let lineup = self.lineup.load();
        let call = self.waiting_call(whose, tenant, Moment::now());
        let question = Resolve(Cow::Borrowed(request));
        let said = self.call_with_fallback(&lineup, &call, &question).await?;
        if let Some(shadow) = &lineup.shadow {
            shadow.offer(Some(tenant), &question, &said.reply, &said.settings);
        }
        read_answer(said.reply, tenant, request, said.component, said.settings)
    }

    /// Resolves requests of one tenant, in order, by one call of the guest. `began`: when the
    /// whole began that these are a part of.
    pub async fn resolve_batch(
        &self,
        whose: Whose,
        began: Moment,
        tenant: &Tenant,
        requests: &[&Request],
    ) -> Vec<Result<Answer, ResolveError>> {
        let call = self.waiting_call(whose, tenant, began);
        let answers = self.answer_all(&call, tenant, requests).await;
        for answer in &answers {
            self.counts.note(answer.as_ref().map(|a| &a.provenance));
        }
        answers
    }

    /// Resolves requests against a record that is stored nowhere.
    pub async fn try_record(
        &self,
        whose: Whose,
        tenant: &Tenant,
        record: Arc<Entry>,
        requests: &[&Request],
    ) -> Vec<Result<Answer, ResolveError>> {
        let mut call = self.waiting_call(whose, tenant, Moment::now());
        call.trial = Some(record);
        let mut answers = self.answer_all(&call, tenant, requests).await;
        for answer in answers.iter_mut().flatten() {
            // It was never written, so it has no revision.
            answer.provenance.revision = None;
        }
        answers
    }

    async fn answer_all(
        &self,
        call: &Call,
        tenant: &Tenant,
        requests: &[&Request],
    ) -> Vec<Result<Answer, ResolveError>> {
        if !self.is_open() {
            return requests
                .iter()
                .map(|_| Err(ResolveError::Unavailable))
                .collect();
        }
        let lineup = self.lineup.load_full();
        let batch = ResolveBatch(requests);
        let said = match self.call_with_fallback(&lineup, call, &batch).await {
            Ok(said) => said,
            Err(error) => return requests.iter().map(|_| Err(error.clone())).collect(),
        };
        let shadow = lineup.shadow.as_ref().filter(|_| call.trial.is_none());
        let answers = said.reply.into_iter().zip(requests);
        answers
            .map(|(decided, request)| {
                let (component, settings) = (said.component.clone(), said.settings.clone());
                if let Some(shadow) = shadow {
                    let question = Resolve(Cow::Borrowed(*request));
                    shadow.offer(Some(tenant), &question, &decided, &settings);
                }
                read_answer(decided, tenant, request, component, settings)
            })
            .collect()
    }

    /// What config holds for a user of the tenant, or for the tenant.
    pub async fn effective_config(
        &self,
        whose: Whose,
        tenant: &Tenant,
        user: Option<&str>,
        min_revision: u64,
    ) -> Result<EffectiveConfig, ResolveError> {
        if !self.is_open() {
            return Err(ResolveError::Unavailable);
        }
        let lineup = self.lineup.load();
        let call = self.waiting_call(whose, tenant, Moment::now());
        let user = user.map(Cow::Borrowed);
        let question = GetEffective { user, min_revision };
        let answer = match self.call_with_fallback(&lineup, &call, &question).await {
            Ok(said) => {
                if let Some(shadow) = &lineup.shadow {
                    shadow.offer(Some(tenant), &question, &said.reply, &said.settings);
                }
                read_effective(said.reply, said.component, said.settings)
            }
            Err(error) => Err(error),
        };
        let outcome = answer.as_ref().map(|answer| &answer.provenance);
        self.config_counts.note(outcome);
        answer
    }

    /// Canonical text of a record, or what is wrong with it. Asks no server.
    pub async fn check<Q: Compared<Reply = Checked>>(
        &self,
        whose: Whose,
        check: Q,
    ) -> Result<String, InvalidRecord> {
        let lineup = self.lineup.load_full();
        let call = self.checking_call(whose);
        let said = self.call_with_fallback(&lineup, &call, &check).await;
        if let (Ok(said), Some(shadow)) = (&said, &lineup.shadow) {
            shadow.offer(call.whose.tenant(), &check, &said.reply, &said.settings);
        }
        read_checked(said.map(|said| said.reply))
    }

    /// The same by a generation that need not be in force.
    pub async fn check_by<Q: Compared<Reply = Checked>>(
        &self,
        generation: &Generation,
        check: Q,
    ) -> Result<String, InvalidRecord> {
        let call = self.checking_call(Whose::Operator);
        let said = self.call_generation(generation, &call, &check, true).await;
        read_checked(said.map(|said| said.reply))
    }

    /// What is written afterwards needs some time as well.
    fn checking_call(&self, whose: Whose) -> Call {
        let deadline = self.request_deadline * 4 / 5;
        Call {
            prompt_ticks: PROMPT_TICKS,
            ..Call::new(whose, Moment::now(), deadline)
        }
    }

    /// A call that goes on where it may wait and yields, if it does not end at once.
    fn waiting_call(&self, whose: Whose, tenant: &Tenant, began: Moment) -> Call {
        Call {
            tenant: Some(tenant.clone()),
            prompt_ticks: PROMPT_TICKS,
            ..Call::new(whose, began, self.request_deadline)
        }
    }
}
