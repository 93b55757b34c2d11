//! Files that cannot be run: `ordain serve` does not start with them, and says what is wrong.

use ordain_tests::app::App;
use ordain_tests::components::{component, made, write};
use ordain_tests::wait::holds;

use super::Faults;

impl Faults {
    /// It does not start, ends by itself, and says all of these and the file.
    pub async fn unless_refused(&mut self, name: &str, bytes: &[u8], says: &[&str]) {
        let _alone = super::ALONE.lock().await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = write(folder.path(), name, bytes);
        let file = file.to_str().expect("a path in UTF-8");
        let builder = App::builder().dev().arg("--component").arg(file);
        let (code, log) = builder.refused().await;
        // What it says of the component; before that come words about the configuration.
        let error = log
            .split_once("error:")
            .map_or(log.as_str(), |(_, error)| error);
        let shown: String = error.chars().take(600).collect();
        self.add(name, holds(code.is_some(), "it serves"));
        if code.is_none() {
            return;
        }
        self.add(name, holds(code == Some(1), format!("{code:?}: {shown}")));
        let is_short = error.len() < 2000 && !log.contains("panicked");
        self.add(
            name,
            holds(is_short, format!("{} bytes: {shown}", error.len())),
        );
        for part in says.iter().chain([&file]) {
            self.add(
                name,
                holds(log.contains(part), format!("no {part:?}: {shown}")),
            );
        }
    }
}

#[tokio::test]
async fn files_that_are_no_component_are_refused() {
    let mut faults = Faults::default();
    let no = &["not a WebAssembly component"];
    faults.unless_refused("empty", &[], no).await;
    faults
        .unless_refused("truncated", &made::truncated(), no)
        .await;
    faults.unless_refused("random", &made::random(1), no).await;
    faults
        .unless_refused("random-component", &made::random_component(2), no)
        .await;
    faults.unless_refused("half-a-header", b"\0asm", no).await;
    faults
        .unless_refused(
            "core-module",
            &made::core_module(),
            &["component", "core module"],
        )
        .await;
    faults.unless_refused("html", b"<html>404</html>", no).await;
    faults.none();
}

#[tokio::test]
async fn a_component_that_cannot_be_instantiated_is_refused_before_it_serves() {
    let mut faults = Faults::default();
    faults
        .unless_refused(
            "start-hangs",
            &made::start_hangs(),
            &["computed for too long"],
        )
        .await;
    faults
        .unless_refused("start-traps", &made::start_traps(), &["unreachable"])
        .await;
    // 128 MiB at once, and four gigabytes.
    faults
        .unless_refused("memory", &made::with_memory(2048), &["memory"])
        .await;
    faults
        .unless_refused("more-memory", &made::with_memory(65536), &["memory"])
        .await;
    faults
        .unless_refused("table", &made::with_table(100_000_000), &["table"])
        .await;
    faults.none();
}

#[tokio::test]
async fn a_component_whose_every_call_fails_is_refused_before_it_serves() {
    let mut faults = Faults::default();
    let dummy = made::of_world(|_, text| text);
    faults
        .unless_refused("dummy", &dummy, &["unreachable"])
        .await;
    faults
        .unless_refused(
            "start-hang",
            &component("start-hang@always"),
            &["computed for too long"],
        )
        .await;
    faults
        .unless_refused("trap", &component("trap@always"), &[])
        .await;
    faults.none();
}
