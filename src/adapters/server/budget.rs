//! How much memory the bodies of all requests may take together, and how many of them are worked on at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::{Body, HttpBody};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The largest body taken, and what large ones may take together.
pub const MAX_BODY: usize = 16 << 20;
/// What is not for large bodies, so that they never keep a small one out. An ordinary message has 2 KiB.
const KEPT_FOR_SMALL: usize = 2 << 20;
/// A body that says that it has no more is a small one. One that does not say it is not.
const SMALL: usize = 256 << 10;
/// What takes more memory than this while it is worked on waits for its turn among its like.
const LIGHT: usize = 1 << 20;
/// How much all others may take while they are worked on.
const LIGHT_IN_WORK: usize = 6 << 20;
/// How long a body may take. Alertmanager itself gives up after its `group_interval`.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The same for a small one, because so few bytes come at once or never.
const SMALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What all bodies share.
#[derive(Debug)]
pub struct BodyBudget {
    used: AtomicUsize,
    light_in_work: Arc<Semaphore>,
    heavy_in_work: Arc<Semaphore>,
}

impl Default for BodyBudget {
    fn default() -> Self {
        let light_in_work = Arc::new(Semaphore::new(LIGHT_IN_WORK >> 10));
        Self { used: AtomicUsize::new(0), light_in_work, heavy_in_work: Arc::new(Semaphore::new(1)) }
    }
}

/// Why a body is not here.
#[derive(Debug, thiserror::Error)]
pub enum BodyRefusal {
    #[error("the body has more than {} MiB", MAX_BODY >> 20)]
    TooLarge,
    #[error("other bodies take all the memory there is for them")]
    NoRoom,
    #[error("the body did not arrive: {0}")]
    Interrupted(String),
}

/// A body, and its part of the budget until it is dropped.
#[derive(Debug)]
pub struct HeldBody {
    bytes: Vec<u8>,
    reserved: BodyReservation,
}

#[derive(Debug)]
struct BodyReservation {
    budget: Arc<BodyBudget>,
    bytes: usize,
    small: bool,
}

impl BodyBudget {
    /// Reads a body as it comes, and no further than there is room for it.
    ///
    /// # Errors
    /// [`BodyRefusal`]; what was read until then is dropped.
    pub async fn read(self: &Arc<Self>, mut body: Body) -> Result<HeldBody, BodyRefusal> {
        let size = body.size_hint();
        // What is announced as too large is not read first.
        if size.lower() > MAX_BODY as u64 {
            return Err(BodyRefusal::TooLarge);
        }
        let exact = size.exact().and_then(|bytes| usize::try_from(bytes).ok());
        let small = exact.is_some_and(|bytes| bytes <= SMALL);
        let reserved = BodyReservation { budget: Arc::clone(self), bytes: 0, small };
        // Memory that was asked for is not taken before something is written into it.
        let mut held = HeldBody { bytes: Vec::with_capacity(exact.unwrap_or_default()), reserved };
        let timeout = if small { SMALL_TIMEOUT } else { TIMEOUT };
        let reading = async {
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| BodyRefusal::Interrupted(error.to_string()))?;
                if let Some(data) = frame.data_ref() {
                    held.take(data)?;
                }
            }
            Ok(held)
        };
        let late = |_| BodyRefusal::Interrupted(format!("not within {} s", timeout.as_secs()));
        tokio::time::timeout(timeout, reading).await.map_err(late)?
    }

    /// Waits until a body may be worked on that takes about this much memory meanwhile: one that takes much at a time,
    /// and some others beside it.
    pub async fn turn(&self, weight: usize) -> OwnedSemaphorePermit {
        let permit = if weight > LIGHT {
            Arc::clone(&self.heavy_in_work).acquire_owned().await
        } else {
            let kib = u32::try_from(weight >> 10).expect("a light one") + 1;
            Arc::clone(&self.light_in_work).acquire_many_owned(kib).await
        };
        permit.expect("it is never closed")
    }

    fn reserve(&self, bytes: usize, small: bool) -> bool {
        let most = if small { MAX_BODY + KEPT_FOR_SMALL } else { MAX_BODY };
        let add = |used: usize| Some(used + bytes).filter(|sum| *sum <= most);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok()
    }
}

impl HeldBody {
    fn take(&mut self, data: &[u8]) -> Result<(), BodyRefusal> {
        if self.bytes.len() + data.len() > MAX_BODY {
            return Err(BodyRefusal::TooLarge);
        }
        let reserved = &mut self.reserved;
        if !reserved.budget.reserve(data.len(), reserved.small) {
            return Err(BodyRefusal::NoRoom);
        }
        reserved.bytes += data.len();
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Works on it, and gives it back. What takes long does not keep other requests waiting.
    pub async fn work<T: Send + 'static>(self, work: impl FnOnce(&[u8]) -> T + Send + 'static) -> (Self, T) {
        let small = self.reserved.small;
        let work = move || {
            let done = work(&self.bytes);
            (self, done)
        };
        if small {
            return work();
        }
        tokio::task::spawn_blocking(work).await.expect("it is not cancelled and does not panic")
    }
}

impl Drop for BodyReservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
