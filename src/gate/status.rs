//! `failover-gate status`: a gate's port, read for people.

use std::{fmt::Write as _, time::Duration};

use url::Url;

use crate::{
    adapters::http::Pages,
    domain::{
        clock,
        gate::{GatePhase, GateStatus},
        visible_json, visible_line,
    },
};

/// A state has some hundred bytes.
const MOST: usize = 64 << 10;
const TIMEOUT: Duration = Duration::from_secs(5);

/// The exit codes of `status`.
pub const RUNS: u8 = 0;
pub const WAITS: u8 = 1;
pub const NO_ANSWER: u8 = 2;

/// What the gate at this address says, and the exit code for it.
///
/// # Errors
/// Why there is no answer.
pub async fn ask(url: &Url, json: bool) -> Result<(String, u8), String> {
    let page = url.join("/status").map_err(|error| format!("{url} is no address of a gate: {error}"))?;
    let pages = Pages::new(TIMEOUT).map_err(|error| error.to_string())?;
    let (status, body) = pages
        .get(page, MOST)
        .await
        .map_err(|error| format!("the gate at {url} {error}: look whether it runs, or name its --url"))?;
    let found: GateStatus = match serde_json::from_slice(&body) {
        Ok(found) if status == 200 => found,
        _ => return Err(format!("{url} answers {status} and not as a gate does: name the gate's --url")),
    };
    let code = if matches!(found.state, GatePhase::Running { .. }) { RUNS } else { WAITS };
    let text = if json { visible_json(String::from_utf8_lossy(&body).trim_end()) } else { shown(&found) };
    Ok((text, code))
}

/// A few lines.
fn shown(status: &GateStatus) -> String {
    let mut text = visible_line(&status.to_string());
    let mut line = |words: String| {
        let _ = write!(text, "\n  {}", visible_line(&words));
    };
    match &status.state {
        GatePhase::Waiting { until: Some(until), .. } => line(format!("it starts at {} at the latest", clock(*until))),
        GatePhase::Running { until: Some(until), .. } => {
            line(format!("it ends at {} unless the ledger answers before", clock(*until)));
        }
        GatePhase::Waiting { until: None, .. }
        | GatePhase::Running { until: None, .. }
        | GatePhase::Stopping { .. } => {}
    }
    if let Some(number) = status.number {
        let renewed = status.renewed_at.map(|at| format!(", session confirmed {}", clock(at))).unwrap_or_default();
        line(format!("grant {number}{renewed}"));
    }
    if let Some(trouble) = &status.trouble {
        line(format!("trouble: {trouble}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{net::TcpListener, sync::watch};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        domain::Time,
        gate::port::{Board, serve, tests::waiting},
    };

    #[tokio::test]
    async fn a_gate_says_what_it_does_and_the_exit_code_says_it_to_scripts() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let (shown, status) = watch::channel(waiting());
        let (board, stopped) = (Arc::new(Board::new(status)), CancellationToken::new());
        let port = tokio::spawn(serve(listener, board.clone(), stopped.clone()));
        let trouble = Some("the ledger\nis silent\u{1b}[2J".to_owned());
        shown.send_replace(GateStatus { trouble, ..waiting() });
        let (text, code) = ask(&url, false).await.unwrap();
        let expected = "eth-0 at home waits since 2023-11-14 22:13:20 UTC: of the ledger\n  \
                        grant 8, session confirmed 2023-11-14 22:13:20 UTC\n  trouble: the ledger^Jis silent^[[2J";
        assert_eq!((text.as_str(), code), (expected, WAITS));
        let (json, code) = ask(&url, true).await.unwrap();
        assert_eq!((serde_json::from_str::<GateStatus>(&json).unwrap(), code), (board.status(), WAITS));
        let state = GatePhase::Running { since: Time::UNIX_EPOCH, until: Some(Time::UNIX_EPOCH) };
        shown.send_replace(GateStatus { state, ..waiting() });
        let (text, code) = ask(&url, false).await.unwrap();
        assert!(text.contains("runs since") && text.contains("unless the ledger answers before"), "{text}");
        assert_eq!(code, RUNS);
        stopped.cancel();
        port.await.unwrap();
        let gone = ask(&url, false).await.unwrap_err();
        assert!(gone.contains("refuses connections: look whether it runs"), "{gone}");
    }
}
