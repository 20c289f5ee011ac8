//! What can go wrong, by script: each fault meets one call.

use std::collections::{HashMap, VecDeque};

use crate::domain::Span;

/// Which calls a fault can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "Google's own names")]
pub enum Method {
    Insert,
    Get,
    AggregatedList,
    /// The aggregated list of disks.
    Disks,
    Delete,
    Operation,
    GuestAttributes,
    SerialPort,
    SetLabels,
    SetDeletionProtection,
    SetScheduling,
}

/// What happens to one call.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It is done, and the connection breaks before the answer.
    LoseReply,
    /// It is not done, and the connection breaks.
    Drop,
    /// It is not done and never answered.
    Hang,
    /// It is not done; this status and reason.
    Status(u16, &'static str),
    /// The operation ends with `ZONE_RESOURCE_POOL_EXHAUSTED`.
    OutOfStock,
    /// The operation ends with `QUOTA_EXCEEDED`.
    Quota,
    /// The operation takes this long.
    Slow(Span),
    /// The machine shows only after so many lists.
    Late(u32),
    /// 200 and `{}`.
    NoOperation,
}

/// The script.
#[derive(Debug, Default)]
pub(super) struct Faults(HashMap<Method, VecDeque<Fault>>);

impl Faults {
    pub(super) fn push(&mut self, method: Method, fault: Fault) {
        self.0.entry(method).or_default().push_back(fault);
    }

    pub(super) fn take(&mut self, method: Method) -> Option<Fault> {
        self.0.get_mut(&method)?.pop_front()
    }
}
