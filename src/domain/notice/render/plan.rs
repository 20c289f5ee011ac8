//! What is done about an incident, and what it costs.

use super::{SIMULATED, Writer, usd};
use crate::domain::{Offer, Plan, human};

impl Writer<'_> {
    /// What is done, in words; returns the same for the subject.
    pub(super) fn plan(&mut self, what: &str, plan: &Plan) -> &'static str {
        let (todo, subject, offer) = match plan {
            Plan::Create(offer) => {
                ("A standby is being created; you need not do anything yet.", "creating a standby", Some(offer))
            }
            Plan::WouldCreate(offer) => (
                "Nothing is created, because mode is observe. Armed, it would have created a standby.",
                "nothing created (observe)",
                Some(offer),
            ),
            Plan::Standing(_) => ("A standby of the open incident is there.", "a standby is there", None),
            Plan::Nothing => (
                "Nothing is created, because no cloud is configured. Please see to it yourself.",
                "no cloud is configured",
                None,
            ),
        };
        self.body.say(&format!("{what} {todo}"));
        if let Plan::Standing(instance) = plan {
            self.body.facts(&[("Machine", instance.to_string())]);
        }
        if let Some(offer) = offer {
            if offer.simulated {
                self.body.say(SIMULATED);
            }
            self.offer(offer);
        }
        subject
    }

    fn offer(&mut self, offer: &Offer) {
        let others = match offer.alternatives {
            0 => "; there is no other place to try".to_owned(),
            1 => ", then 1 other place".to_owned(),
            n => format!(", then {n} other places"),
        };
        let mut facts = vec![("Plan", format!("{}{others}", offer.rung))];
        let fuse = human(offer.fuse);
        facts.push((
            "Price",
            match (offer.per_hour, offer.until_fuse) {
                (Some(hour), Some(all)) => {
                    format!("{} an hour, at most {} until it stops itself after {fuse}", usd(hour), usd(all))
                }
                (Some(hour), None) => format!("{} an hour until it stops itself after {fuse}", usd(hour)),
                (None, _) => format!("not known for this machine type; it stops itself after {fuse}"),
            },
        ));
        facts.extend(offer.after_fuse_per_month.map(|month| {
            ("Afterwards", format!("its disk remains, {} a month, until somebody deletes it", usd(month)))
        }));
        self.body.facts(&facts);
    }

    pub(super) fn plan_next(&mut self, plan: &Plan) {
        let id = &self.notice.validator;
        match plan {
            Plan::Create(_) => {
                self.body.say("The standby has no keys and cannot sign. You will get a mail when it is ready.");
                self.next("To follow it:", "status --watch");
            }
            Plan::WouldCreate(_) => self.next("To see what would be done, and why:", &format!("plan {id}")),
            Plan::Standing(_) => self.next("To see what it does:", "status"),
            Plan::Nothing => self.next("To see each source's opinion:", "status"),
        }
    }
}
