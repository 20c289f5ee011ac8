//! What the answers of a node's own ports say about a validator of kind `generic`: the judgement.
//!
//! It asks nobody and reads no clock. One rule stands above all others: what our own side may be the cause of (no name
//! found, no network, a certificate, our credentials, half an answer) is *unknown*, never down. A probe that was set up
//! wrongly must never start a machine.

mod compare;
mod height;
mod judge;
mod sight;
#[cfg(test)]
mod tests;

pub use compare::{Comparison, ComparisonError, Order, WrongType};
pub use height::Height;
pub use judge::Judge;
pub use sight::ProbeObservation;

use super::Span;

/// What one probe has to find, and what it may miss.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub name: String,
    /// What the answer's body has to hold. Without it a connection, or a 2xx status, is enough.
    pub wanted: Option<Wanted>,
    /// How long it may fail before that says down.
    pub fails_for: FailsFor,
    /// An opinion is believed for this long. A gap between two answers that is longer is one in our own watching, and
    /// nothing is concluded across it.
    pub believed_for: Span,
}

/// What the body of an answer has to hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Where to look in it: a JSON pointer (RFC 6901).
    pub pointer: String,
    pub value: WantedValue,
}

#[derive(Clone, Debug, PartialEq)]
pub enum WantedValue {
    Advances {
        /// The same height for this long says down.
        stalled_after: Span,
    },
    /// A value that compares like this.
    Compares(Comparison),
}

/// How long a probe may fail before that says down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailsFor {
    /// This many times in a row.
    Times(u32),
    /// In every answer throughout this long.
    Time(Span),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// The connection was made; nothing more was asked.
    Connected,
    Http {
        status: u16,
        body: Vec<u8>,
    },
    /// The machine is there and refused the connection.
    Refused,
    /// Nothing came in time.
    TimedOut,
    /// What our own side, or the way there, may be the cause of; the reason in an operator's words.
    Doubtful(String),
}
