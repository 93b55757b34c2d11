//! Calls that are answered line by line while they go on. Not for what the lines say.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::{Call, PATIENCE, Target, failed, request, within};
use crate::cli::reply::{Failure, Reply};

/// Longest call that tells how far it is.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
const SILENT: &str = "the server stopped saying how far it is";
const NO_LINES: &str =
    "the server's answer is not what this program expects: is it Ordain, of this version?";

/// The body of an answer as it comes.
type Chunks = BoxStream<'static, Result<Bytes, Failure>>;

impl Target {
    /// Sends a call that must succeed and is answered line by line while it goes on: shows each
    /// line.
    pub async fn follow(
        &self,
        call: Call,
        mut show: impl FnMut(Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (status, headers, mut chunks) = self.begin(call).await?;
        let mut rest = Vec::new();
        loop {
            // The server says how far it is all the time: silence is as bad as no answer.
            let chunk = tokio::time::timeout(PATIENCE, chunks.next()).await;
            let Some(chunk) = chunk.map_err(|_| Failure::new(SILENT))? else {
                break;
            };
            rest.extend_from_slice(&chunk?);
            while status.is_success()
                && let Some(end) = rest.iter().position(|byte| *byte == b'\n')
            {
                let line: Vec<u8> = rest.drain(..=end).collect();
                show(serde_json::from_slice(&line).map_err(|_| Failure::new(NO_LINES))?)?;
            }
        }
        let body = Bytes::from(rest);
        match status.is_success() {
            true if body.is_empty() => Ok(()),
            true => Err(Failure::new(NO_LINES)),
            false => Err(Failure::Answer(Box::new(Reply {
                status,
                headers,
                body,
            }))),
        }
    }

    /// The head of an answer, and its body as it comes.
    async fn begin(&self, call: Call) -> Result<(StatusCode, HeaderMap, Chunks), Failure> {
        match self {
            Target::Server {
                client,
                base,
                name,
                token,
            } => {
                let request = request(client, base, token.as_ref(), call).timeout(LONGEST);
                let name = name.clone();
                let answer = request.send().await;
                let answer = answer.map_err(|error| failed(&name, error))?;
                let (status, headers) = (answer.status(), answer.headers().clone());
                let chunks = futures::stream::try_unfold(answer, move |mut answer| {
                    let name = name.clone();
                    async move {
                        let chunk = answer.chunk().await;
                        let chunk = chunk.map_err(|error| failed(&name, error))?;
                        Ok(chunk.map(|chunk| (chunk, answer)))
                    }
                });
                Ok((status, headers, chunks.boxed()))
            }
            Target::Embedded { service } => {
                let (parts, body) = within(service.clone(), call).await?.into_parts();
                let chunks = body.into_data_stream().map_err(Failure::new).boxed();
                Ok((parts.status, parts.headers, chunks))
            }
        }
    }
}
