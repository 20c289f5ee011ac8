//! What becomes of the standby.

use serde::{Deserialize, Serialize};

use super::{
    About, Lifetime, Lines,
    render::{SIMULATED, Writer, usd},
};
use crate::domain::{InstanceRef, Span, Stuck, Text, Time, Usd, clock, elapsed, human};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StandbyNotice {
    /// It can be promoted, or could be if it were real.
    Ready {
        instance: InstanceRef,
        /// Machine and disks while it runs.
        per_hour: Option<Usd>,
        expires_at: Time,
        /// What its report says: synced, peers, head.
        report: Lines,
        /// Its start-up bundle is a placeholder: it follows no chain.
        simulated: bool,
    },
    /// It makes no progress by itself.
    Stuck {
        instance: InstanceRef,
        stuck: Stuck,
        /// Machine and disks while it runs.
        per_hour: Option<Usd>,
        /// How far it has come, as it reports.
        progress: Lines,
    },
    /// It has never booted; it is deleted and another one is tried.
    NeverBooted {
        instance: InstanceRef,
        /// How long it was waited for.
        waited: Span,
        /// The last of what its serial port has printed.
        console: Lines,
    },
    /// It was there already, of an incident that the ledger does not know as open.
    TakenOver { instance: InstanceRef },
    /// It is there, and no open incident claims it.
    Orphan { instance: InstanceRef, fate: OrphanFate },
    /// No open incident claims it, and a check before its deletion forbids to delete it.
    OrphanKept { instance: InstanceRef, check: Text },
    /// Its limit stops the machine soon.
    ExpiresSoon {
        instance: InstanceRef,
        expires_at: Time,
        /// What it has cost so far.
        so_far: Option<Usd>,
        /// What remains once it is stopped: the disks, per month.
        stopped_per_month: Option<Usd>,
    },
}

/// What becomes of a machine that no open incident claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrphanFate {
    /// It is deleted after its notice, if home is well.
    Deleted,
    /// Another ledger's, or nobody knows whose: it is never deleted by itself.
    Foreign,
    /// Its label or its protection says to keep it.
    Kept,
}

impl StandbyNotice {
    pub(super) fn about(&self) -> About {
        match self {
            Self::Ready { .. } => About::new("standby_ready", "standby_ready", Lifetime::Machine),
            Self::Stuck { stuck, .. } => About::one_of("standby_stuck", stuck.kind().name(), Lifetime::Machine),
            Self::NeverBooted { .. } => About::new("never_booted", "never_booted", Lifetime::Case),
            Self::TakenOver { .. } => About::new("taken_over", "taken_over", Lifetime::Machine),
            // What stays until somebody changes that is another matter than what goes in an hour.
            Self::Orphan { instance, fate } => {
                let stays = if *fate == OrphanFate::Deleted { "" } else { "/stays" };
                About::one_of("orphan", &format!("{}{stays}", instance.id), Lifetime::Orphan).urgent()
            }
            Self::OrphanKept { instance, .. } => {
                About::one_of("orphan_kept", &instance.id.to_string(), Lifetime::Orphan).urgent()
            }
            Self::ExpiresSoon { .. } => About::new("money", "money/expires_soon", Lifetime::Case),
        }
    }
}

impl Writer<'_> {
    pub(super) fn standby(&mut self, notice: &StandbyNotice) -> String {
        let id = self.id();
        match notice {
            StandbyNotice::Ready { instance, per_hour, expires_at, report, simulated } => {
                if *simulated {
                    self.body.say(&format!(
                        "The simulated standby of {id} is ready. Do not move keys to it: bring home back. The command \
                         below shows what a real one would be asked."
                    ));
                    self.body.say(SIMULATED);
                } else {
                    self.body.say(&format!(
                        "The standby of {id} is ready. Decide now: bring home back, or move the keys with the command \
                         below. If home attests again, the standby goes by itself."
                    ));
                }
                let mut facts = vec![("Machine", instance.to_string())];
                facts.extend(per_hour.map(|hour| ("Price", format!("{} an hour", usd(hour)))));
                facts.push(("Stops itself", clock(*expires_at)));
                self.body.facts(&facts);
                self.body.list("What it reports:", report.iter());
                self.body.say(
                    "Home and standby must never sign at the same time: that is what gets a validator slashed. The \
                     command shows what is proven and what is not, and refuses until all is.",
                );
                self.next("Next:", &format!("promote {id}"));
                self.next("To keep the machine beyond that time instead:", &format!("retain {id}"));
                if *simulated { "simulated standby ready, decide".into() } else { "standby ready, decide".into() }
            }
            StandbyNotice::Stuck { instance, stuck, per_hour, progress } => {
                self.body.say(&format!(
                    "The standby of {id} makes no progress by itself: {stuck}. What helps: {}. failover keeps watching, \
                     and says so in its status when the machine makes progress again.",
                    stuck.kind().advice()
                ));
                let mut facts = vec![("Machine", instance.to_string())];
                facts.extend(per_hour.map(|hour| ("Price", format!("{} an hour while it runs", usd(hour)))));
                self.body.facts(&facts);
                self.body.list("What it reports:", progress.iter());
                self.next("To read its console:", &format!("logs {id}"));
                self.next("To give this standby up:", &format!("close {id} --reason \"the standby is stuck\""));
                "the standby is stuck".into()
            }
            StandbyNotice::NeverBooted { instance, waited, console } => {
                self.body.say(&format!(
                    "A standby of {id} has not booted within {}. It is deleted, and another one is tried; you need \
                     not do anything yet.",
                    human(*waited)
                ));
                self.body.facts(&[("Machine", instance.to_string())]);
                self.body.list("The end of its console:", console.iter());
                self.next("To follow the next one:", "status --watch");
                "a standby did not boot, trying another".into()
            }
            StandbyNotice::TakenOver { instance } => {
                self.body.say(&format!(
                    "A standby of {id} was there already, of an incident that this ledger does not know as open. It is \
                     used instead of a new one. Either the ledger was lost or restored, or a second failover with this \
                     site's name runs in this project: then stop one of the two."
                ));
                self.body.facts(&[("Machine", instance.to_string())]);
                self.next("To see how far it is:", "status");
                "a standby that was there already is used".into()
            }
            StandbyNotice::Orphan { instance, fate } => {
                let InstanceRef { name, zone, .. } = instance;
                self.body.say(&format!("A machine of {id} is there that no open incident claims, and costs money."));
                self.body.say(match fate {
                    OrphanFate::Deleted => {
                        "It is deleted an hour after this mail if home is well then; if home goes down first, it is the \
                         standby. You need not do anything."
                    }
                    OrphanFate::Foreign => {
                        "It was created under another ledger: before this one was lost or replaced, or by a second \
                         failover with this site's name, which has to have a name of its own. It is never deleted by \
                         itself; if home goes down first, it is the standby."
                    }
                    OrphanFate::Kept => {
                        "Its label or its deletion protection says to keep it, so it is never deleted by itself. Keys \
                         may be on it: look before you delete it."
                    }
                });
                self.body.facts(&[("Machine", instance.to_string())]);
                let gcloud = |verb: &str| format!("gcloud compute instances {verb} {name} --zone={zone}");
                if *fate != OrphanFate::Kept {
                    self.body.command("To keep it:", &format!("{} --deletion-protection", gcloud("update")));
                }
                self.body.command("To delete it by hand:", &gcloud("delete"));
                self.next("To see everything that is known:", "status");
                "a machine that no incident claims".into()
            }
            StandbyNotice::OrphanKept { instance, check } => {
                let InstanceRef { name, zone, .. } = instance;
                self.body.say(&format!(
                    "A machine of {id} is there that no open incident claims, and costs money. It should go, but a \
                     check forbids to delete it: {check}. Keys may be on it: look before you delete it. It is checked \
                     again in a day, and stops by itself at its run limit."
                ));
                self.body.facts(&[("Machine", instance.to_string())]);
                self.body
                    .command("To delete it by hand:", &format!("gcloud compute instances delete {name} --zone={zone}"));
                self.next("To see everything that is known:", "status");
                "a machine that must not be deleted unseen".into()
            }
            StandbyNotice::ExpiresSoon { instance, expires_at, so_far, stopped_per_month } => {
                let left = human(elapsed(self.notice.at, *expires_at));
                self.body.say(&format!(
                    "The standby of {id} stops itself in {left}. Nothing is lost with that, but it will not run. Keep \
                     it if you need it."
                ));
                let mut facts = vec![("Machine", instance.to_string()), ("Stops itself", clock(*expires_at))];
                facts.extend(so_far.map(|cost| ("Cost so far", usd(cost))));
                facts.extend(
                    stopped_per_month.map(|month| ("Afterwards", format!("its disk costs {} a month", usd(month)))),
                );
                self.body.facts(&facts);
                self.next("To keep it:", &format!("retain {id} --reason \"I keep it\""));
                format!("the standby stops in {left}")
            }
        }
    }
}
