//! What an operation is about, and what it does when it ends.

use serde_json::{Value, json};

use super::{Answer, fault::Fault, routes::Call, routes::missing, world::World};
use crate::domain::Time;

#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) json: Value,
    /// By its numeric id: one of the same name made later is another.
    pub(super) machine: u64,
    pub(super) ends_at: Time,
    pub(super) then: Then,
}

/// Which machine an operation is about.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) project: &'a str,
    pub(super) zone: &'a str,
    pub(super) name: &'a str,
}

/// What an operation does when it ends.
#[derive(Clone, Debug)]
pub(super) enum Then {
    Run,
    /// It runs, and has ended before anybody has looked.
    RunAndEnd,
    Stop,
    /// The machine's reset button: it continues running, but its system begins again.
    Reset,
    Remove,
    /// The creation has failed, and nothing of it remains.
    Fail {
        code: &'static str,
        message: String,
    },
    /// The start has failed, and the machine is stopped as before.
    StayStopped {
        code: &'static str,
        message: String,
    },
    Change(Change),
}

/// A change that is not there before its operation has ended.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Labels {
        expected: Value,
        labels: Value,
    },
    DeletionProtection(bool),
    Scheduling(Value),
    AutoDelete {
        device: String,
        on: bool,
    },
    /// Of a part with a fingerprint: `metadata`, `tags`.
    Items {
        field: &'static str,
        expected: Value,
        items: Value,
    },
    Name(String),
}

pub(super) fn get(world: &mut World, _call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let found = world.operations.get(rest[3]);
    found.map_or_else(|| missing(&rest.join("/")), |operation| Answer::ok("Operation", operation.json.clone()))
}

/// The same request again: the same operation, whatever has become of it.
pub(super) fn again(world: &World, call: &Call<'_>) -> Option<Answer> {
    let known = world.requests.get(call.query.get("requestId")?)?;
    let operation = world.operations.get(known)?;
    Some(Answer::ok("Operation", operation.json.clone()))
}

/// Begins the operation that a call has asked for and remembers the call's request id.
pub(super) fn begin(
    world: &mut World,
    call: &Call<'_>,
    rest: &[&str],
    kind: &str,
    fault: Option<&Fault>,
    then: Then,
) -> Answer {
    let name = rest.get(3).copied().unwrap_or_default();
    begin_for(world, call, call.target(rest[1], name), kind, fault, then)
}

/// As [`begin`], for a machine that the path does not name.
pub(super) fn begin_for(
    world: &mut World,
    call: &Call<'_>,
    target: Target<'_>,
    kind: &str,
    fault: Option<&Fault>,
    then: Then,
) -> Answer {
    let mut json = world.operate(target, kind, fault, then, call.now);
    if let Some(request) = call.query.get("requestId") {
        let name = json["name"].as_str().unwrap_or_default().to_owned();
        json["clientOperationId"] = json!(request);
        if let Some(kept) = world.operations.get_mut(&name) {
            kept.json["clientOperationId"] = json!(request);
        }
        world.requests.insert(request.clone(), name);
    }
    Answer::ok("Operation", json)
}
