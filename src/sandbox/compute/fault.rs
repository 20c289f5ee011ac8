//! What can go wrong, by script: each fault meets one call.

use std::collections::{HashMap, VecDeque};

use crate::domain::Span;

/// Which calls a fault can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Insert,
    Get,
    AggregatedList,
    Disks,
    Delete,
    Operation,
    GuestAttributes,
    SerialPort,
    SetLabels,
    SetDeletionProtection,
    SetScheduling,
    SetDiskAutoDelete,
    SetMetadata,
    SetName,
    SetTags,
    Start,
    Stop,
}

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
    OutOfStock,
    Quota,
    Slow(Span),
    /// The machine shows only after so many lists.
    Late(u32),
    /// A start that succeeds, of a machine that ends at once: preempted, or by its own doing.
    Ends,
    /// 200 and `{}`.
    NoOperation,
}

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
