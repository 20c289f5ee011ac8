//! Where a validator stands, for people. It changes nothing and decides nothing.

use super::{Draft, detect, provision, ready};
use crate::domain::{Phase, Policy, Reason, Span, Time, ValidatorId, World, elapsed};

/// Where a validator stands now and why, in the words that are used everywhere.
#[must_use]
pub fn explain(world: &World, id: &ValidatorId, now: Time, policy: &Policy) -> Option<Reason> {
    let subject = world.get(id)?;
    let views = subject.live.signals.views(now);
    Some(match &subject.record.phase {
        Phase::Watching => Reason::Well { views },
        Phase::Suspected { since } => {
            let assessment = subject.live.signals.assess(*since, now);
            match subject.live.held_since {
                _ if assessment.vetoed => Reason::Vetoed { views },
                Some(held_since) if detect::is_enough(&assessment, policy) => {
                    let left = policy.hold_down - elapsed(held_since, now);
                    if left > Span::ZERO {
                        Reason::Holding { views, left }
                    } else {
                        let draft = probe(world, id, now, policy)?;
                        match detect::block(&draft) {
                            Some(block) => Reason::Blocked { views, block },
                            None => Reason::Holding { views, left: Span::ZERO },
                        }
                    }
                }
                _ => Reason::Waiting { views, needs: policy.needed },
            }
        }
        Phase::Provisioning(incident, pending) => provision::explain(incident, pending, policy),
        Phase::Syncing(_, standby) | Phase::Ready(_, standby) => {
            ready::explain(id, subject, standby, &world.chain, now, policy)
        }
        Phase::Releasing(_, _) => Reason::Releasing { why: "every machine of the incident goes".into() },
        Phase::NeedsHuman(_, _, doubt) => Reason::InDoubt { doubt: doubt.clone() },
    })
}

fn probe<'a>(world: &'a World, id: &'a ValidatorId, now: Time, policy: &'a Policy) -> Option<Draft<'a>> {
    let subject = world.get(id)?;
    Some(Draft {
        id,
        world,
        policy,
        now,
        record: std::borrow::Cow::Borrowed(&subject.record),
        live: subject.live.clone(),
        finished: None,
        actions: Vec::new(),
        reasons: Vec::new(),
        wake_at: None,
    })
}
