//! What a human has to decide. The words of each [`Attention`] stand beside it.

use serde::{Deserialize, Serialize};

use super::{
    About, Lifetime,
    render::{Writer, usd},
};
use crate::domain::{Attention, InstanceRef, Usd};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionNeeded {
    pub attention: Attention,
    /// The machine it is about, if there is one.
    pub instance: Option<InstanceRef>,
    /// Machine and disks while it runs.
    pub per_hour: Option<Usd>,
}

impl DecisionNeeded {
    pub(super) fn about(&self) -> About {
        About::one_of("decision_needed", self.attention.kind().name(), Lifetime::Case).urgent().with_evidence()
    }
}

impl Writer<'_> {
    pub(super) fn decision(&mut self, decision: &DecisionNeeded) -> String {
        let id = self.id();
        let DecisionNeeded { attention, instance, per_hour } = decision;
        let words = attention.words();
        self.body.say(&words.what.replace("{id}", id.as_str()));
        let mut facts: Vec<_> = instance.iter().map(|instance| ("Machine", instance.to_string())).collect();
        // What has vanished or stopped does not run, and the price of running would mislead.
        let runs = !matches!(attention, Attention::Vanished | Attention::Stopped);
        facts.extend(per_hour.filter(|_| runs).map(|hour| ("Price", format!("{} an hour while it runs", usd(hour)))));
        self.body.facts(&facts);
        if let Attention::NeverBooted { console, .. } = attention {
            self.body.list("The end of its console:", console.iter());
        }
        self.evidence();
        self.next("To see everything that is known:", "status");
        if words.keep {
            self.next("To keep the machine:", &format!("retain {id} --reason \"I keep it\""));
        } else {
            self.next("When you have looked, end the incident:", &format!("close {id} --reason \"I have looked\""));
        }
        format!("decision needed, {}", words.subject)
    }
}
