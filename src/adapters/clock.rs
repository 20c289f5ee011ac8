//! The wall clock of this machine.

use futures::{FutureExt, future::BoxFuture};

use crate::{domain::Time, ports::Clock};

#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        Time::now()
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        let left = at.duration_since(self.now());
        tokio::time::sleep(left.try_into().unwrap_or_default()).boxed()
    }
}
