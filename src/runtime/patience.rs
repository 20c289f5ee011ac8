//! How long a ledger that refuses us is waited for. It does not wait itself.

use std::time::Duration;

use tokio::time::Instant;

use crate::ports::LedgerError;

/// A changed role takes two minutes to reach every server, seven and more at times (Google, "Access change
/// propagation"); a token that was not accepted is replaced within five. After that nobody but the operator can help,
/// and the process ends with the reason.
pub const REFUSED_FOR: Duration = Duration::from_mins(10);

/// Since when the ledger has refused us without a break.
#[derive(Debug, Default)]
pub(super) struct Patience(Option<Instant>);

impl Patience {
    /// Why to try again.
    ///
    /// # Errors
    /// The error itself when trying again cannot help.
    pub(super) fn try_again(&mut self, error: LedgerError) -> Result<String, LedgerError> {
        match error {
            LedgerError::Unavailable(why) => {
                self.0 = None;
                Ok(why)
            }
            LedgerError::Refused(refusal, why) => {
                let waited = self.0.get_or_insert_with(Instant::now).elapsed();
                if waited < REFUSED_FOR { Ok(why) } else { Err(LedgerError::Refused(refusal, why)) }
            }
            LedgerError::Unusable(_) | LedgerError::Oversized(_) => Err(error),
        }
    }

    /// It has answered.
    pub(super) fn answered(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Barred;

    fn refused() -> LedgerError {
        LedgerError::Refused(Barred::Login, "401".into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_waited_out_until_it_has_lasted_and_an_answer_begins_the_time_again() {
        let mut patience = Patience::default();
        for _ in 0..2 {
            assert!(patience.try_again(refused()).is_ok());
            tokio::time::advance(REFUSED_FOR - Duration::from_secs(1)).await;
            assert!(patience.try_again(refused()).is_ok());
            patience.answered();
        }
        assert!(patience.try_again(refused()).is_ok());
        assert!(patience.try_again(LedgerError::Unavailable("503".into())).is_ok());
        tokio::time::advance(REFUSED_FOR).await;
        assert!(patience.try_again(refused()).is_ok(), "what was not answered was no refusal");
        tokio::time::advance(REFUSED_FOR).await;
        assert!(patience.try_again(refused()).is_err());
        assert!(Patience::default().try_again(LedgerError::Unusable("a folder".into())).is_err());
    }
}
