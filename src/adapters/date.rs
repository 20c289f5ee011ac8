//! Asks another machine for the time, by the `Date` of its answers (RFC 9110, 6.6.1).
//!
//! It is good enough to tell whether a clock is right to half a second, needs no port but the one that is used anyway,
//! and sets nothing.

use std::time::Duration;

use jiff::fmt::rfc2822;
use reqwest::{Client, header::DATE};
use url::Url;

use crate::{
    domain::{ClockOffset, DateSample},
    ports::Clock,
};

/// So many answers, so far apart: together a little more than a second.
const SAMPLES: u32 = 9;
const APART: Duration = Duration::from_millis(130);

/// Why the time was not told.
#[derive(Debug, thiserror::Error)]
pub enum DateError {
    #[error("it does not answer: {0}")]
    NoAnswer(#[from] reqwest::Error),
    /// It answered without a readable `Date`.
    #[error("its answer has no readable Date")]
    NoDate,
    /// Its answers do not fit together.
    #[error("its answers contradict each other: a clock was changed meanwhile")]
    Contradiction,
}

/// How far that machine's clock is ahead of ours. Takes about a second. What it answers beside the time does not
/// matter.
///
/// # Errors
/// [`DateError`]: then the offset is unknown.
pub async fn offset(client: &Client, url: &Url, clock: &dyn Clock) -> Result<ClockOffset, DateError> {
    let mut samples = Vec::new();
    let mut ticks = tokio::time::interval(APART);
    for _ in 0..SAMPLES {
        ticks.tick().await;
        let sent = clock.now();
        let answer = client.head(url.clone()).send().await?;
        let received = clock.now();
        let date = answer.headers().get(DATE).and_then(|value| value.to_str().ok()).ok_or(DateError::NoDate)?;
        let date = rfc2822::parse(date).map_err(|_| DateError::NoDate)?.timestamp();
        samples.push(DateSample { sent, received, date });
    }
    ClockOffset::from_samples(&samples).ok_or(DateError::Contradiction)
}
