//! The pure core: what is known, what it means, and what is to be done about it.
//!
//! It is not where anything happens: no clock, no I/O, no randomness. Time is an argument, and a decision is data
//! that [`crate::runtime`] persists first and carries out second.

pub mod alerts;
mod attention;
mod backoff;
pub mod chain;
mod clock_offset;
pub mod event;
mod fee_recipient;
pub mod gate;
pub mod gates;
mod home_watch;
pub mod ids;
pub mod interchange;
pub mod kube;
mod ledger_key;
pub mod machine;
mod machine_shape;
pub mod money;
pub mod notice;
pub mod outbox;
pub mod ownership;
pub mod policy;
pub mod probe;
mod progress;
pub mod promotion;
mod promotion_view;
pub mod reason;
pub mod record;
pub mod report;
mod report_history;
pub mod runbook;
pub mod signal;
pub mod signals;
mod signer_commands;
pub mod standby;
mod stuck;
mod text;
mod time;
mod trouble;
pub mod world;

pub use alerts::{AlertBook, AlertRecord};
pub use attention::{Attention, AttentionKind};
pub use backoff::Backoff;
pub use chain::{ChainEvidence, ChainHealth, ChainObservation, KeyStates, PublicKey, ValidatorObservation};
pub use clock_offset::*;
pub use event::*;
pub use fee_recipient::{BadFeeRecipient, FeeRecipient};
pub use home_watch::{Comeback, HomeSight, HomeWatch};
pub use ids::*;
pub use ledger_key::{KeyKind, LedgerKey, is_bucket, is_label, object_prefix, stamp, stamped};
pub use machine::{explain, step};
pub use machine_shape::*;
pub use money::*;
pub use notice::*;
pub use outbox::*;
pub use policy::*;
pub use progress::Progress;
pub use promotion_view::{OVERDUE_AFTER, PromotionView};
pub use reason::*;
pub use record::*;
pub use report::*;
pub use report_history::ReportHistory;
pub use signal::*;
pub use signals::*;
pub use signer_commands::{SignerClient, SignerCommands, StandbySigner, filled};
pub use standby::*;
pub use stuck::{Stuck, StuckKind};
#[cfg(test)]
pub(crate) use text::hostile;
pub use text::{
    Lines, Text, brief, console_tail, end_of_line, one_line, visible, visible_html, visible_json, visible_line,
};
pub use time::{Span, Time, TimeExt, clock, elapsed, human, parse_span};
pub use trouble::{CloudTrouble, remedy};
pub use world::*;
