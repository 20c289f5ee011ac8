//! What one answer shows, before anything is concluded from several.
//!
//! It remembers nothing; [`super::Judge`] does.

use serde_json::Value;

use super::{ProbeAnswer, Rule, WantedValue, compare};
use crate::domain::one_line;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeObservation {
    /// It is as it has to be.
    Works(String),
    Height(i128),
    /// It is not as it has to be, and that is its own doing.
    Fails(String),
    /// Nothing is shown: we, or the way there, may be the cause.
    Doubt(String),
}

impl ProbeObservation {
    /// Reads an answer.
    ///
    /// **Invariant:** only a refused connection, a time-out, a status from 500 up and a comparison that is false are
    /// failures; everything else that is not fine is a doubt.
    #[must_use]
    pub fn of(answer: &ProbeAnswer, rule: &Rule) -> Self {
        match answer {
            ProbeAnswer::Connected => Self::Works("its port takes connections".into()),
            ProbeAnswer::Refused => Self::Fails("its port refuses the connection".into()),
            ProbeAnswer::TimedOut => Self::Fails("its port does not answer in time".into()),
            ProbeAnswer::Doubtful(why) => Self::Doubt(why.clone()),
            ProbeAnswer::Http { status, body } => match status {
                200..=299 => found(body, *status, rule),
                500..=599 => Self::Fails(format!("it answers {status}")),
                401 | 403 => Self::Doubt(format!("it answers {status}: our credentials are not accepted")),
                300..=399 => Self::Doubt(format!("it answers {status}: it is elsewhere, and no redirect is followed")),
                _ => Self::Doubt(format!("it answers {status}: the question may be wrong")),
            },
        }
    }
}

fn found(body: &[u8], status: u16, rule: &Rule) -> ProbeObservation {
    let Some(wanted) = &rule.wanted else { return ProbeObservation::Works(format!("it answers {status}")) };
    let pointer = &wanted.pointer;
    let body: Value = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(_) => return ProbeObservation::Doubt("its answer is not JSON, or only a part of it".into()),
    };
    let Some(value) = body.pointer(pointer) else {
        return ProbeObservation::Doubt(format!("there is nothing at {pointer} in its answer"));
    };
    let doubt = |error: compare::WrongType| ProbeObservation::Doubt(format!("at {pointer}, {error}"));
    match &wanted.value {
        WantedValue::Advances { .. } => compare::height(value).map_or_else(doubt, ProbeObservation::Height),
        WantedValue::Compares(comparison) => {
            let short = one_line(&value.to_string(), 60);
            match comparison.holds(value) {
                Ok(true) => ProbeObservation::Works(format!("{pointer} is {short}")),
                Ok(false) => ProbeObservation::Fails(format!("{pointer} is {short}, not {comparison}")),
                Err(error) => doubt(error),
            }
        }
    }
}
