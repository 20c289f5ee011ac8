//! Whole epochs in which the chain shows no duty of some keys, as a command watches them.

use std::{sync::Arc, time::Duration};

use super::SessionError;
use crate::{
    domain::{
        TimeExt,
        gate::{Silence, SilenceNeeded},
        ownership::SILENT_EPOCHS,
    },
    ports::{Clock, Duties, DutySeen},
};

/// So many looks an epoch: several in the time in which nodes can be asked about the one before.
const LOOKS: i32 = 64;
/// Half a minute without a look, and the nodes were not watched.
const MOST: Duration = Duration::from_secs(10);

/// Counts from the first epoch that begins after it was made: nobody can be asked about earlier ones.
pub struct SilenceWatch {
    duties: Arc<dyn Duties>,
    clock: Arc<dyn Clock>,
    silence: Option<Silence>,
    /// By the last look: whether what was counted reaches up to now.
    is_fresh: bool,
    pause: Duration,
}

impl SilenceWatch {
    #[must_use]
    pub fn new(duties: Arc<dyn Duties>, clock: Arc<dyn Clock>) -> Self {
        Self { duties, clock, silence: None, is_fresh: false, pause: MOST }
    }

    /// One look, and a judgement when it is late enough in an epoch. What prevents one, in words.
    pub(super) async fn look(&mut self) -> Result<Option<String>, SessionError> {
        self.is_fresh = false;
        let now = match self.duties.now().await {
            Ok(now) => now,
            Err(why) => return Ok(Some(why)),
        };
        self.pause = Duration::try_from(now.length / LOOKS).unwrap_or(MOST);
        if self.silence.is_none() {
            self.silence = Silence::before_start(SilenceNeeded::Later(SILENT_EPOCHS), &now, None);
        }
        let late = self.clock.now() >= now.began_at.plus(now.judged_after());
        let Some(silence) = self.silence.as_mut() else { return Ok(None) };
        let mut trouble = None;
        if let Some(epoch) = silence.due(now.epoch).filter(|_| late) {
            match self.duties.in_epoch(epoch).await {
                DutySeen::None => silence.is_silent(epoch),
                DutySeen::Some { keys } => return Err(SessionError::Signing { epoch, keys }),
                DutySeen::Unknown(why) => trouble = Some(why),
            }
        }
        self.is_fresh = silence.is_fresh(now.epoch);
        Ok(trouble)
    }

    /// So many in a row, up to the last one that could be judged. None while that was too long ago, or nobody answers.
    pub(super) fn silent(&self) -> u32 {
        self.silence.as_ref().filter(|_| self.is_fresh).map_or(0, Silence::silent)
    }

    pub(super) fn pause(&self) -> Duration {
        self.pause.min(MOST)
    }
}
