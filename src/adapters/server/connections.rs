//! Which connections are open, which of them only wait for their caller, and which goes when there are too many.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use super::{LINES, PortLimits};

/// All that are open. **Invariant:** never more than [`PortLimits::connections`].
pub(super) struct Connections {
    limits: PortLimits,
    room: Arc<Semaphore>,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    last: u64,
    all: BTreeMap<u64, Arc<Shared>>,
}

/// One of them; it is forgotten when it is dropped.
pub(super) struct Connection {
    number: u64,
    shared: Arc<Shared>,
    open: Arc<Mutex<Open>>,
    limits: PortLimits,
    _room: OwnedSemaphorePermit,
}

struct Shared {
    /// Since when it waits for its caller, and until when it may. Nothing while it is our turn.
    waits: Mutex<Option<(Instant, Instant)>>,
    closed: Notify,
}

impl Connections {
    pub(super) fn new(limits: PortLimits) -> Self {
        Self { limits, room: Arc::new(Semaphore::new(limits.connections)), open: Arc::default() }
    }

    /// A place for a new one. When all are taken it is that of the one that has waited longest for its caller; none
    /// when all are being worked on.
    pub(super) async fn admit(&self) -> Option<Arc<Connection>> {
        let room = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(room) => room,
            Err(_) => {
                let closed = self.close_one();
                if let Some(times) = LINES.due("connections") {
                    let most = self.limits.connections;
                    tracing::warn!(
                        times,
                        "{most} connections are open, which is all there may be: one is closed for each that comes"
                    );
                }
                if !closed {
                    return None;
                }
                Arc::clone(&self.room).acquire_owned().await.expect("it is never closed")
            }
        };
        let now = Instant::now();
        let waits = Mutex::new(Some((now, now + self.limits.first_request)));
        let shared = Arc::new(Shared { waits, closed: Notify::new() });
        let mut open = lock(&self.open);
        open.last += 1;
        let number = open.last;
        open.all.insert(number, Arc::clone(&shared));
        let limits = self.limits;
        Some(Arc::new(Connection { number, shared, open: Arc::clone(&self.open), limits, _room: room }))
    }

    /// Closes the one that has waited longest, if one waits.
    pub(super) fn close_one(&self) -> bool {
        let mut open = lock(&self.open);
        let waiting = open.all.iter().filter_map(|(number, shared)| Some((lock(&shared.waits).as_ref()?.0, *number)));
        let Some((_, number)) = waiting.min() else { return false };
        // Taken out at once, so that the next newcomer closes another one.
        open.all.remove(&number).is_some_and(|shared| {
            shared.closed.notify_one();
            true
        })
    }
}

impl Connection {
    /// A request has come.
    pub(super) fn works(&self) {
        *lock(&self.shared.waits) = None;
    }

    /// It is the caller's turn: an answer was given, or more of a body has to come.
    pub(super) fn waits(&self) {
        let now = Instant::now();
        *lock(&self.shared.waits) = Some((now, now + self.limits.idle));
    }

    /// Ends when it has waited too long, or when its place is needed.
    pub(super) async fn overdue(&self) {
        let too_long = async {
            loop {
                let now = Instant::now();
                let until = lock(&self.shared.waits).map_or(now + self.limits.idle, |(_, until)| until);
                if until <= now {
                    return;
                }
                // The end may have come nearer meanwhile, but never nearer than this.
                sleep_until(until.min(now + self.limits.first_request.min(self.limits.idle))).await;
            }
        };
        tokio::select! {
            () = self.shared.closed.notified() => {}
            () = too_long => {}
        }
    }
}

/// The body of a request. While nothing of it comes, its connection waits for its caller like any other.
pub(super) struct ArrivingBody {
    body: Incoming,
    connection: Arc<Connection>,
}

impl ArrivingBody {
    pub(super) fn new(body: Incoming, connection: &Arc<Connection>) -> Self {
        Self { body, connection: Arc::clone(connection) }
    }
}

impl Body for ArrivingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending() {
            self.connection.waits()
        } else {
            self.connection.works()
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.open).all.remove(&self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
