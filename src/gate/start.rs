//! One start of the command, as both places make it: noted before, and over in bounded time.

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{child::Child, state::GateState, timing::START};
use crate::domain::gate::ChildDeadline;

/// What came of it.
pub(super) enum Started {
    Runs,
    /// Nothing is left of it: why.
    Not(String),
    /// The gate is asked to end, and nothing is left of it.
    Cancelled,
}

/// Starts the command. Whatever was begun when `cancel` comes, or when it takes too long, is ended here.
pub(super) async fn start(
    child: &mut dyn Child,
    state: &mut GateState,
    deadline: ChildDeadline,
    cancel: &CancellationToken,
) -> Started {
    let before = match state.note_start() {
        Ok(before) => before,
        Err(why) => return Started::Not(why),
    };
    let begun = tokio::select! {
        biased;
        () = cancel.cancelled() => None,
        begun = timeout(START, child.start(deadline)) => Some(begun),
    };
    let result = match begun {
        Some(Ok(Ok(()))) => {
            state.note_running();
            return Started::Runs;
        }
        Some(Ok(Err(error))) => Started::Not(error.to_string()),
        Some(Err(_)) => {
            let why = format!("the command has not begun within {} s", START.as_secs());
            state.stops(&why);
            child.stop().await;
            Started::Not(why)
        }
        None => {
            state.stops("this gate is asked to end");
            child.stop().await;
            Started::Cancelled
        }
    };
    state.note_no_start(before);
    result
}
