//! Imports `clock` and `log`.

use super::HostState;
use crate::world::bindings::log::Severity;
use ordain_coherence::Moment;

/// Longest message that is logged, in bytes.
const MESSAGE_MAX: usize = 1024;

impl HostState {
    pub(super) fn remaining_ms(&self) -> u32 {
        let remaining = self.deadline.since(Moment::now());
        u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX)
    }

    /// Messages beyond the first few of a call are dropped.
    pub(super) fn may_log(&mut self) -> bool {
        let left = self.messages.checked_sub(1);
        self.messages = left.unwrap_or(0);
        left.is_some()
    }

    pub(super) fn write_log(&self, severity: Severity, message: &str) {
        let mut end = message.len().min(MESSAGE_MAX);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let message = &message[..end];
        let tenant = self.tenant.as_ref().map_or("", |t| t.as_str());
        let component = &*self.component;
        match severity {
            _ if self.shadow => tracing::debug!(tenant, component, "candidate: {message}"),
            Severity::Debug => tracing::debug!(tenant, component, "{message}"),
            Severity::Info => tracing::info!(tenant, component, "{message}"),
            Severity::Warn => tracing::warn!(tenant, component, "{message}"),
            Severity::Error => tracing::error!(tenant, component, "{message}"),
        }
    }
}
