//! The end of an outage, and the bill.

use serde::{Deserialize, Serialize};

use super::{
    About, Lifetime,
    render::{Writer, usd},
};
use crate::domain::{Lines, Rung, Span, Text, Usd, human};

/// Home is back: the incident is over, or its machine is kept by the operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Over {
    /// How long the incident lasted.
    pub lasted: Span,
    /// How it ended, to stand after "because": "home attests again for 20m".
    pub how: Text,
    /// The standby, if there was one.
    pub standby: Option<Bill>,
    /// The operator keeps the machine, so the incident is still open.
    pub kept: bool,
    /// What a look afterwards has still seen, or why it could not be looked at.
    pub left: Lines,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bill {
    pub rung: Rung,
    pub ran: Span,
    /// Machines of the same incident that were given up before it: where, on what, and how long each ran.
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub earlier: Lines,
    /// What all of them have cost, as far as the price table knows.
    pub cost: Option<Usd>,
    /// It is deleted with its disks; otherwise the operator keeps it and it still costs.
    pub deleted: bool,
}

impl Over {
    pub(super) fn about(&self) -> About {
        let name = if self.left.is_empty() { "recovered" } else { "recovered_with_rest" };
        About::new(name, if self.kept { "recovered/kept" } else { "recovered" }, Lifetime::Case)
    }
}

impl Writer<'_> {
    pub(super) fn over(&mut self, over: &Over) -> String {
        let id = self.id();
        let Over { lasted, how, standby, kept: _, left } = over;
        let lasted = human(*lasted);
        let is_gone = standby.as_ref().is_none_or(|bill| bill.deleted);
        if left.is_empty() {
            self.body.say(&format!("The incident of {id} is over after {lasted}. You need not do anything."));
        } else if !is_gone {
            self.body.say(&format!(
                "The incident of {id} is over after {lasted}. Its machine stays, is yours alone, and costs until you \
                 delete it."
            ));
            self.body.list("What stays:", left.iter());
        } else {
            self.body.say(&format!(
                "The incident of {id} is over after {lasted}. Its machine is gone, but look at what is listed below: \
                 what is still there costs until somebody deletes it."
            ));
            self.body.list("To be looked at:", left.iter());
        }
        let mut facts = vec![("Because", how.to_string())];
        let bill = match standby {
            None => "no standby was created".to_owned(),
            Some(bill) => {
                let fate = if bill.deleted && !left.is_empty() {
                    "deleted"
                } else if bill.deleted {
                    "deleted with its disks"
                } else {
                    "kept, because you asked for it: it still costs"
                };
                facts.push(("Standby", format!("{}, ran {}, {fate}", bill.rung, human(bill.ran))));
                facts.extend(bill.earlier.iter().map(|earlier| ("Before it", format!("{earlier}, given up"))));
                match (bill.cost, bill.earlier.is_empty()) {
                    (Some(cost), true) => format!("about {}", usd(cost)),
                    (Some(cost), false) => format!("about {} for all", usd(cost)),
                    (None, true) => "its price is not known".to_owned(),
                    (None, false) => "not all prices are known".to_owned(),
                }
            }
        };
        facts.push(("Bill", bill.clone()));
        self.body.facts(&facts);
        self.next("To see that all is well:", "status");
        if left.is_empty() {
            format!("over after {lasted}, {bill}")
        } else {
            format!("over after {lasted}, something is left")
        }
    }
}
