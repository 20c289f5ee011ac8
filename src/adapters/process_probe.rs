//! The validator process's own port: it says *up* or nothing.
//!
//! A probe that fails is no evidence of anything: the network between may be what is broken.

use std::time::Duration;

use url::Url;

use crate::domain::{Evidence, Interval, Reading, Span, Time, Verdict};

/// Asks once. Any answer with a 2xx status is a process that runs.
pub async fn probe(client: &reqwest::Client, url: &Url, every: Duration, now: impl Fn() -> Time) -> Reading {
    let from = now();
    let answer = client.get(url.clone()).send().await;
    let to = now();
    match answer {
        Ok(response) if response.status().is_success() => Reading {
            verdict: Verdict::Up,
            evidence: Evidence::Process,
            about: Interval { from, to },
            // One lost probe is nothing; two in a row are.
            fresh_until: to + Span::try_from(every * 5 / 2).unwrap_or(Span::MAX),
            why: format!("its port answers {}", response.status().as_u16()).into(),
        },
        Ok(response) => {
            Reading::unknown(Evidence::Process, to, format!("its port answers {}", response.status().as_u16()))
        }
        Err(error) => Reading::unknown(Evidence::Process, to, format!("its port does not answer ({})", kind(&error))),
    }
}

fn kind(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "no HTTP answer"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_does_not_answer_says_nothing() {
        let client = crate::adapters::http::client(Duration::from_secs(1)).unwrap();
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let url = format!("http://{free}/metrics").parse().unwrap();
        let reading = probe(&client, &url, Duration::from_secs(1), || Time::UNIX_EPOCH).await;
        assert_eq!(reading.verdict, Verdict::Unknown);
    }
}
