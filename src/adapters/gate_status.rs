//! What a gate says of itself on its port. It does not know what that means.

use url::Url;

use super::http::{PageError, read_body};
use crate::domain::{brief, gate::GateStatus, one_line};

/// Larger than what a gate says of itself, in bytes.
const MOST: usize = 64 * 1024;

/// Asks once.
///
/// # Errors
/// Why there is no status, with what helps.
pub async fn read(client: &reqwest::Client, url: &Url) -> Result<GateStatus, String> {
    let page = url.join("status").map_err(|error| format!("{url}: {error}: correct `gate.url`"))?;
    let none = |error: PageError| format!("{url} {error}: look whether the gate runs and lets the watcher connect");
    let answer = client.get(page).send().await.map_err(|error| none(error.into()))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("{url} answers {}: correct `gate.url`", status.as_u16()));
    }
    let body = read_body(answer, MOST).await.map_err(|error| none(error.into()))?;
    serde_json::from_slice(&body).map_err(|error| {
        // One of another version may have words that this one does not know.
        let version = serde_json::from_slice::<serde_json::Value>(&body).ok();
        match version.as_ref().and_then(|status| status["version"].as_str()) {
            Some(version) => {
                let (theirs, ours) = (one_line(version, 40), env!("CARGO_PKG_VERSION"));
                format!(
                    "{url} is a gate of version {theirs}, whose answer this version ({ours}) cannot read: update one"
                )
            }
            None => {
                let what = brief(&error.to_string());
                format!("{url} sends something else than a gate's status ({what}): correct `gate.url`")
            }
        }
    })
}
