//! Components that misbehave. Whatever one does, the call that made it do so ends in time with an
//! error that says so, and nothing else is harmed: not the next request, not other tenants, not the
//! process or its memory. Here is what these tests share; each file below is one kind of harm.

mod answers;
mod backends;
mod batches;
mod ends;
mod files;
mod keeping;
mod overruns;
mod records;
mod worlds;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ordain_tests::app::{App, Builder};
use ordain_tests::components::write_component;
use ordain_tests::http::Reply;
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::{Value, json};
use tokio::sync::MutexGuard;

use ends::{Ends, Faults, shown};

use crate::support::{ALONE, REQUEST_DEADLINE, SLACK, model, plain, policy, warm};

/// How much more memory a host may occupy after many bad calls than after one: half of what one
/// instance may have, so a single one that stays behind is noticed.
const MARGIN: u64 = 32 << 20;
/// Ordinary calls before and after.
const ORDINARY: usize = 200;

/// A host with a component of this mode, and two tenants who have policies and are warm.
struct Host {
    app: App,
    _folder: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Host {
    async fn start(mode: &str) -> Host {
        Host::on(App::builder().dev(), mode).await
    }

    async fn on(builder: Builder, mode: &str) -> Host {
        let host = Host::bare(builder, mode).await;
        for tenant in ["bad", "good"] {
            host.app.store(tenant, &policy("openai", tenant)).await;
            warm(&host.app, tenant).await;
        }
        host
    }

    /// Without tenants.
    async fn bare(builder: Builder, mode: &str) -> Host {
        let alone = ALONE.lock().await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = write_component(folder.path(), mode);
        let file = file.to_str().expect("a path in UTF-8");
        let app = builder.arg("--component").arg(file).name(mode);
        Host {
            app: app.start().await,
            _folder: folder,
            _alone: alone,
        }
    }

    /// The request that the component waits for; it ends in time, whatever the answer.
    async fn bad(&self) -> Reply {
        self.timed(&json!({"tenant": "bad", "task": "x-1"})).await
    }

    async fn timed(&self, body: &Value) -> Reply {
        let start = Instant::now();
        let reply = self.app.resolve(body).await;
        let took = start.elapsed();
        assert!(
            took <= REQUEST_DEADLINE + SLACK,
            "{body}: {took:?}: {}",
            shown(&reply)
        );
        reply
    }

    /// A request that has nothing to do with it, answered rightly and in time.
    async fn ordinary(&self, tenant: &str) {
        let reply = self.timed(&plain(tenant)).await.expect(200);
        assert_eq!(model(&reply.json), tenant);
    }

    /// Bad calls from several callers at once, each followed by an ordinary one of the same tenant;
    /// all the while another tenant is answered as ever.
    async fn harmed_by(&self, callers: usize, calls: usize, ends: Ends) {
        let over = AtomicBool::new(false);
        let callers = async {
            let caller = |_| async {
                for _ in 0..calls / callers {
                    ends.check(&self.bad().await);
                    self.ordinary("bad").await;
                }
            };
            futures::future::join_all((0..callers).map(caller)).await;
            over.store(true, Ordering::Relaxed);
        };
        let bystander = async {
            while !over.load(Ordering::Relaxed) {
                self.ordinary("good").await;
            }
        };
        futures::join!(callers, bystander);
    }

    async fn quiet(&self) {
        for _ in 0..ORDINARY {
            self.ordinary("good").await;
        }
    }

    /// The memory of the host comes down to this again.
    async fn resident_within(&self, most: u64) {
        let look = || async {
            let now = self.app.resident();
            let (now_mib, most_mib) = (now >> 20, most >> 20);
            holds(now <= most, format!("{now_mib} MiB, not {most_mib}"))
        };
        eventually("memory is given back", Duration::from_secs(5), look).await;
    }
}

/// All of it for one mode.
async fn is_contained(mode: &str, calls: usize, ends: Ends) {
    let host = Host::start(mode).await;
    contained(&host, calls, ends).await;
}

async fn contained(host: &Host, calls: usize, ends: Ends) {
    host.quiet().await;
    ends.check(&host.bad().await);
    host.ordinary("bad").await;
    let baseline = host.app.resident();
    tokio::time::timeout(PATIENCE * 6, host.harmed_by(2, calls, ends))
        .await
        .expect("two minutes are enough");
    host.quiet().await;
    host.resident_within(baseline + MARGIN).await;
}
