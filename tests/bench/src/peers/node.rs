//! A program of Node as a child process: commands as JSON lines on its standard input, answers on
//! its standard output. It ends with its input.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

pub struct Node {
    // Ended when this is dropped.
    _child: Child,
    input: tokio::sync::Mutex<(ChildStdin, u64)>,
    waiting: Waiting,
}

impl Node {
    pub fn start(folder: &Path, script: &str) -> anyhow::Result<Node> {
        let mut command = Command::new("node");
        command
            .arg(script)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().context("node cannot be started")?;
        let input = child.stdin.take().context("standard input is a pipe")?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let waiting = Waiting::default();
        tokio::spawn(deliver(output, waiting.clone()));
        Ok(Node {
            _child: child,
            input: tokio::sync::Mutex::new((input, 0)),
            waiting,
        })
    }

    /// Gives a command and waits for its answer, for as long as it takes.
    pub async fn call(&self, command: &str, mut options: Value) -> anyhow::Result<Value> {
        let (send, receive) = oneshot::channel();
        {
            let mut input = self.input.lock().await;
            input.1 += 1;
            options["id"] = json!(input.1);
            options["command"] = json!(command);
            self.waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(input.1, send);
            let line = format!("{options}\n");
            input.0.write_all(line.as_bytes()).await?;
        }
        let answer = receive.await.context("the program of Node ended")?;
        if let Some(error) = answer["error"].as_str() {
            bail!("{command}: {error}");
        }
        Ok(answer)
    }
}

/// Until the output ends; who still waits then hears that nobody will answer.
async fn deliver(output: ChildStdout, waiting: Waiting) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(answer) = serde_json::from_str::<Value>(&line) else {
            eprintln!("node: {line}");
            continue;
        };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let who = answer["id"].as_u64().and_then(|id| waiting.remove(&id));
        if let Some(who) = who {
            // Whoever asked may have given up.
            let _ = who.send(answer);
        }
    }
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.clear();
}
