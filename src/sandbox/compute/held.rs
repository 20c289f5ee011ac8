//! A creation that is on its way: it has left the watcher, and takes effect when the test lets it.
//!
//! It takes effect even if nobody is left to hear the answer, as a request does that a cloud has taken.

use tokio::sync::oneshot;

/// The far side: waits before the request is handled.
#[derive(Debug)]
pub(super) struct Gate {
    arrived: oneshot::Sender<()>,
    go: oneshot::Receiver<()>,
}

impl Gate {
    pub(super) fn new() -> (Self, Held) {
        let (arrived, has_arrived) = oneshot::channel();
        let (go, may_go) = oneshot::channel();
        (Self { arrived, go: may_go }, Held { arrived: Some(has_arrived), go })
    }

    pub(super) async fn pass(self) {
        // The test may not be interested in when.
        let _ = self.arrived.send(());
        // A test that has ended lets everything go.
        let _ = self.go.await;
    }
}

/// One creation in the hand of a test.
#[derive(Debug)]
pub struct Held {
    arrived: Option<oneshot::Receiver<()>>,
    go: oneshot::Sender<()>,
}

impl Held {
    /// Waits until the request has come. False when the fake has ended before.
    pub async fn arrived(&mut self) -> bool {
        match self.arrived.take() {
            Some(arrived) => arrived.await.is_ok(),
            None => true,
        }
    }

    pub fn release(self) {
        let _ = self.go.send(());
    }
}
