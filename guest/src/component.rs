//! The border to WebAssembly: the world `rules` of `wit/`, each import as a method of [`Ports`]
//! and each export as a call of the rules. Nothing is decided here, and nothing exported:
//! `guest/component` makes the component file of [`Component`].

pub mod bindings;
mod convert;

/// The exports of the world.
pub struct Component;

/// Strings cross the border by being allocated on one side and freed on the other: every call does
/// that some eight times, and constant-time allocation is worth a tenth of a near hit.
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();

use std::cell::RefCell;

use crate::ports::{LookedUp, Ports, Settings, Severity, State, Subject};
use crate::resolve::{self, Instance};
use crate::{config, validate};
use bindings::exports::ordain::config::config as config_export;
use bindings::exports::ordain::policy::policy;
use bindings::ordain::host::{clock, far, feed, held, log, near, origin, settings, types};
use bindings::ordain::policy::settings as policy_settings;
use convert::{
    decision_out, effective_out, failure_out, invalid_out, looked_up_in, request_in, settings_in,
    severity_out, state_in, subject_out,
};

thread_local! {
    /// An instance has one thread and serves one call at a time, so this is never borrowed twice. A
    /// call that traps leaves it borrowed; the host drops such an instance.
    static INSTANCE: RefCell<Instance> = RefCell::default();
}

impl policy::Guest for Component {
    fn resolve(request: policy::Request) -> Result<policy::Decision, types::Failure> {
        let request = request_in(request);
        let answer = INSTANCE.with_borrow_mut(|instance| {
            resolve::resolve(instance, &mut Imports::default(), &request)
        });
        answer.map(decision_out).map_err(failure_out)
    }

    fn resolve_batch(
        requests: Vec<policy::Request>,
    ) -> Vec<Result<policy::Decision, types::Failure>> {
        let requests: Vec<_> = requests.into_iter().map(request_in).collect();
        let answers = INSTANCE.with_borrow_mut(|instance| {
            resolve::resolve_batch(instance, &mut Imports::default(), &requests)
        });
        answers
            .into_iter()
            .map(|answer| answer.map(decision_out).map_err(failure_out))
            .collect()
    }

    fn validate(record: String) -> Result<String, types::Invalid> {
        validate::validate(&record).map_err(invalid_out)
    }
}

impl config_export::Guest for Component {
    fn get_effective(
        user: Option<String>,
        min_revision: u64,
    ) -> Result<config_export::Effective, types::Failure> {
        let answer = INSTANCE.with_borrow_mut(|instance| {
            let mut imports = Imports::default();
            config::effective(instance, &mut imports, user.as_deref(), min_revision)
        });
        answer.map(effective_out).map_err(failure_out)
    }

    fn validate(level: String) -> Result<String, types::Invalid> {
        config::level::validate(&level).map_err(invalid_out)
    }

    fn patch(level: String, patch: String) -> Result<String, types::Invalid> {
        config::level::patch(&level, &patch).map_err(invalid_out)
    }
}

/// The imports of the world, and what the last look-up in near has said already.
#[derive(Default)]
struct Imports {
    found: Option<State>,
}

/// Lowers subjects. One is the rule; only several are worth an allocation.
fn with_subjects<T>(subjects: &[Subject<'_>], call: impl Fn(&[types::Subject<'_>]) -> T) -> T {
    match subjects {
        [one] => call(&[subject_out(one)]),
        several => call(&several.iter().map(subject_out).collect::<Vec<_>>()),
    }
}

impl Ports for Imports {
    fn settings(&mut self) -> Settings {
        settings_in(settings::get(), policy_settings::get())
    }

    fn remaining_ms(&mut self) -> u32 {
        clock::remaining_ms()
    }

    fn log(&mut self, severity: Severity, message: &str) {
        log::write(severity_out(severity), message);
    }

    fn near(&mut self, subjects: &[Subject<'_>]) -> LookedUp {
        self.found = None;
        let [one] = subjects else {
            return looked_up_in(with_subjects(subjects, near::look_up));
        };
        match near::find(subject_out(one)) {
            near::Finding::Found(found) => {
                self.found = Some(state_in(found.entry));
                looked_up_in(types::LookedUp::View(found.view))
            }
            near::Finding::Unavailable(reason) => {
                looked_up_in(types::LookedUp::Unavailable(reason))
            }
        }
    }

    fn far(&mut self, subjects: &[Subject<'_>]) -> LookedUp {
        self.found = None;
        looked_up_in(with_subjects(subjects, far::look_up))
    }

    fn origin(&mut self, subjects: &[Subject<'_>], min_revision: u64) -> LookedUp {
        self.found = None;
        looked_up_in(with_subjects(subjects, |subjects| {
            origin::read(subjects, min_revision)
        }))
    }

    fn catch_up(&mut self, min_revision: u64, wait_ms: u32) -> LookedUp {
        looked_up_in(feed::catch_up(min_revision, wait_ms))
    }

    fn entry(&mut self, index: u32) -> State {
        match self.found {
            Some(state) if index == 0 => state,
            _ => state_in(held::entry(index)),
        }
    }

    fn text(&mut self, index: u32) -> String {
        held::text(index)
    }

    fn derived(&mut self, index: u32) -> Vec<u8> {
        held::derived(index)
    }

    fn attach(&mut self, index: u32, bytes: &[u8]) {
        held::attach(index, bytes);
    }

    fn keep(&mut self, index: u32, far_ttl_ms: u32) -> u64 {
        held::keep(index, far_ttl_ms)
    }
}
