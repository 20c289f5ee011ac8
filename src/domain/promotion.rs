//! Promotion and demotion: ownership moves to a machine in the cloud, and back, one effect at a time.
//!
//! [`PromotionFacts`] is everything that was read; [`PromotionFacts::next`] and [`PromotionFacts::back`] say which one
//! effect comes next. Nothing is remembered between two calls but what the ledger has, so that resuming after a crash,
//! from whatever machine, is calling them again. What is done is in the record before it is done.

mod back;
mod end;
mod facts;
mod home;
mod judged;
mod next;
mod record;
#[cfg(test)]
mod tests;
mod words;

pub use end::PromotionEnd;
pub use facts::{MachineFacts, PromotionFacts, PromotionOrder};
pub use next::{PromotionStep, PromotionWait, SignOrder, WATCHED_FOR};
pub use record::{
    NotedOverride, NotedRaise, NotedStep, NotedWatermark, PromotionEffect, PromotionKind, PromotionRecord,
    PromotionState,
};
pub use words::EffectWords;
