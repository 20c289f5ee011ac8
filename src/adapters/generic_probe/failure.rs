//! A question that got no answer: whose doing that is.
//!
//! **Invariant:** only what the node's own machine said (it refuses) and silence are the node's; everything that is not
//! known to be that is doubtful.

use std::{error::Error, io};

use crate::domain::probe::ProbeAnswer;

pub(super) fn of_io(error: &io::Error) -> ProbeAnswer {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ProbeAnswer::Refused,
        io::ErrorKind::TimedOut => ProbeAnswer::TimedOut,
        _ => ProbeAnswer::Doubtful(format!("it cannot be asked ({error})")),
    }
}

/// Of a request. What the system says lies deep in the chain of causes.
pub(super) fn of_http(error: &reqwest::Error) -> ProbeAnswer {
    if error.is_timeout() {
        return ProbeAnswer::TimedOut;
    }
    let mut last: &dyn Error = error;
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        // Errors of TLS come as an `io::Error` too, but of a kind of their own.
        if let Some(error) = error.downcast_ref::<io::Error>()
            && let answer @ (ProbeAnswer::Refused | ProbeAnswer::TimedOut) = of_io(error)
        {
            return answer;
        }
        last = error;
        cause = error.source();
    }
    let what = if error.is_connect() { "no connection can be made" } else { "its answer is not whole" };
    ProbeAnswer::Doubtful(format!("{what} ({last})"))
}
