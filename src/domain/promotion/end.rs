//! Why a promotion does not continue, with what to do.

use super::PromotionEffect;
use crate::domain::InstanceRef;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromotionEnd {
    #[error("there is no machine to promote: `failover status` says what the watcher does")]
    NoMachine,
    #[error(
        "the machine {0} does not exist any more: take the promotion back with --abort, or `failover adopt --deleted`"
    )]
    MachineGone(InstanceRef),
    #[error("nobody has signed a grant: `failover adopt` makes the first one")]
    NoGrant,
    #[error("the cloud owns the validator by grant {0}: `failover demote` first")]
    CloudOwns(u64),
    #[error("home owns the validator by grant {0}: there is nothing to demote")]
    HomeOwns(u64),
    #[error("a demotion is open: finish it with `failover demote --resume`, or take it back with --abort")]
    DemotionOpen,
    #[error("a promotion is open: finish it with `failover promote --resume`, or take it back with --abort")]
    PromotionOpen,
    #[error("nothing is open")]
    NothingOpen,
    #[error(
        "{0} has taken back what this command worked on, or opened something else: nothing more is done; look with \
         `failover grants`, then begin again"
    )]
    Superseded(String),
    #[error("the order cannot be kept in the ledger ({0}): shorten it")]
    Order(String),
    #[error(
        "{by} has opened this one with another {what}: continue it as it is with --resume, or take it back with --abort \
         first. A statement and overrides may be added"
    )]
    OtherOrder { what: &'static str, by: String },
    #[error(
        "--until {0}: a drill of a promotion ends before its signature, after put_watermark at the latest; a demotion \
         has none"
    )]
    DrillTooFar(&'static str),
    #[error(
        "another grant came first, with number {0}: nothing of this promotion counts; take the machine back with --abort"
    )]
    Lost(u64),
    #[error("somebody takes this promotion back: finish that with --abort")]
    Aborting,
    #[error("the grant is in force already: `failover demote` takes it back")]
    Committed,
    #[error(
        "the session's number is {0}, above that of this promotion: end it with --abort, then look with `failover grants`"
    )]
    Overtaken(u64),
    #[error(
        "the session is missing, so the ledger is damaged and nothing proves that home has stopped: state how home is \
         physically prevented from coming back (--statement)"
    )]
    SessionMissing,
    #[error(
        "no gate has ever held the session, so nothing proves that home has stopped: state how home is physically prevented \
         from coming back (--statement)"
    )]
    NeverHeld,
    #[error("nothing proves that home forges no more: turn it off there, and state how (--statement)")]
    MustState,
    #[error("the drill ends here, after {0}{cost}: take it back with --abort", cost = after_a_drill(.0))]
    Drill(&'static str),
    #[error("the cloud does not start the machine: take the promotion back with --abort, home is as it was")]
    StartRefused,
    #[error(
        "the cloud does not start the machine, and home has stopped: nobody signs. Try again with --resume, or let home \
         sign again with --abort"
    )]
    StartRefusedLate,
    #[error(
        "home has its grant and waits all the same: the session's number is {0}, above it. `failover adopt --renew`"
    )]
    HomeWaits(u64),
    #[error(
        "the machine that may sign is stopped, and nobody signs: start it and `failover regrant`, or `failover demote`"
    )]
    CloudStopped,
    #[error(
        "the machine was started again after its grant, so that its gate stays down and nobody signs: `failover regrant`, \
         or `failover demote`"
    )]
    OtherBoot,
    #[error(
        "the record does not say what {0} was before, and nothing goes back by a guess: it never had a grant, so turn its \
         deletion protection off and delete it by hand, then --abort again"
    )]
    NoShape(InstanceRef),
    #[error("number {0} is the last one there is")]
    LastNumber(u64),
}

/// What a drill costs that has come so far.
fn after_a_drill(last: &str) -> &'static str {
    let stops_home = [PromotionEffect::Raise, PromotionEffect::PutWatermark].map(<&str>::from);
    if stops_home.contains(&last) { ". Home has stopped and stays so until a grant for it is signed" } else { "" }
}
