//! What the cloud does not do for us.

use serde::{Deserialize, Serialize};

use super::{About, Lifetime, Topic, render::Writer};
use crate::domain::{Rung, Text, Time, clock, remedy, trouble::refusal};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    pub failed: Failed,
    /// The answer of the cloud, in its own words.
    pub detail: Text,
    pub retry_at: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failed {
    /// No place of the ladder has such a machine to give.
    OutOfStock,
    /// A quota of the project is too small.
    Quota,
    /// The cloud refuses: permission, a bad field.
    Refused,
    /// This place does not take it until somebody changes something, and the next one was tried.
    Place(Rung),
    TooSlow,
    /// The machine could not be deleted.
    Delete,
    /// The machine cannot be polled.
    Poll,
    /// Machines cannot be searched for.
    List,
}

impl Failure {
    pub(super) fn about(&self) -> About {
        let lifetime = match self.failed {
            Failed::OutOfStock
            | Failed::Quota
            | Failed::Refused
            | Failed::Place(_)
            | Failed::TooSlow
            | Failed::Delete
            | Failed::List => Lifetime::Case,
            Failed::Poll => Lifetime::Machine,
        };
        let topics = self.failed.topics();
        let topic = match (&self.failed, refusal(self.detail.as_str())) {
            // Of each place once.
            (Failed::Place(rung), _) => Topic(format!("{topics}/{rung}").into()),
            // Another refusal is news; other words of the same are not.
            (failed, Some(refusal)) if failed.is_repeated() => Topic(format!("{topics}/{refusal}").into()),
            (_, Some(_) | None) => Topic::from(topics),
        };
        About::new("failure", topic, lifetime)
    }
}

impl Failed {
    /// The topic, or what its topics begin with.
    #[must_use]
    pub fn topics(&self) -> &'static str {
        match self {
            Self::OutOfStock => "failure/out_of_stock",
            Self::Quota => "failure/quota",
            Self::Refused => "failure/refused",
            Self::Place(_) => "failure/place",
            Self::TooSlow => "failure/too_slow",
            Self::Delete => "failure/delete",
            Self::Poll => "failure/poll",
            Self::List => "failure/list",
        }
    }

    /// It is asked again and again, and the answer may become another one.
    fn is_repeated(&self) -> bool {
        match self {
            Self::Refused | Self::Delete | Self::Poll | Self::List => true,
            Self::OutOfStock | Self::Quota | Self::Place(_) | Self::TooSlow => false,
        }
    }
}

impl Writer<'_> {
    pub(super) fn failure(&mut self, failure: &Failure) -> String {
        let id = self.id();
        let Failure { failed, detail, retry_at } = failure;
        let again = if retry_at.is_some() { "It is tried again by itself." } else { "It is not tried again." };
        let (subject, what): (String, _) = match failed {
            Failed::Place(rung) => (
                format!("{rung} refuses a standby"),
                format!(
                    "{rung} does not take the standby of {id} until somebody changes something, so the next place of \
                     compute.ladder is asked. Without this one the ladder is shorter than it looks: correct its zone or \
                     its machine type there, or what the answer names."
                ),
            ),
            Failed::OutOfStock => (
                "no capacity for a standby".into(),
                format!("No configured place has a machine for {id}. {again} You can add places to compute.ladder."),
            ),
            Failed::Quota => (
                "quota too small for a standby".into(),
                format!("A quota of the cloud project is too small for the standby of {id}. Raise it. {again}"),
            ),
            Failed::Refused => (
                "the cloud refuses".into(),
                format!("The cloud refuses to create the standby of {id}. Correct what it names below. {again}"),
            ),
            Failed::TooSlow => (
                "still no standby".into(),
                format!(
                    "There is still no standby for {id} although it should be there by now. failover keeps trying."
                ),
            ),
            Failed::Delete => (
                "the standby could not be deleted".into(),
                format!("The standby of {id} should go but could not be deleted. It still costs. {again}"),
            ),
            Failed::Poll => (
                "the standby cannot be looked at".into(),
                format!("The cloud does not say what the standby of {id} does, so nobody knows. It costs. {again}"),
            ),
            Failed::List => (
                "machines cannot be listed".into(),
                format!(
                    "The cloud does not show which machines of {id} there are, so none is created or deleted on that. \
                     {again}"
                ),
            ),
        };
        self.body.say(&what);
        let mut facts = vec![("Answer", detail.to_string())];
        facts.push(("What helps", remedy(detail.as_str()).to_owned()));
        facts.extend(retry_at.map(|at| ("Next try", clock(at))));
        self.body.facts(&facts);
        self.next("To see permissions, quotas and places:", "check");
        subject
    }
}
