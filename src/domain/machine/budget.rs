//! What the budgets allow. Money is judged at its worst: every machine runs until its limit.

use crate::domain::{Blocker, Policy, PricedRung, Span, Time, TimeExt, Usd, World};

/// The span over which money is counted.
const MONTH: Span = Span::from_hours(30 * 24);

/// The first rung that the budget allows, or why there is none.
///
/// # Errors
/// The block that the last rung met.
pub(super) fn affordable(world: &World, policy: &Policy, now: Time) -> Result<(usize, Option<Usd>), Blocker> {
    let mut met = Blocker::NoLadder;
    for (index, rung) in policy.ladder.iter().enumerate() {
        match within_budget(world, policy, rung, Usd(0.0), Usd(0.0), now) {
            Ok(()) => return Ok((index, rung.at_most)),
            Err(block) => met = block,
        }
    }
    Err(met)
}

/// Checks one rung against both budgets, at its worst: the machine runs until its limit. `planned` is what the
/// world already counts for this very incident, `sunk` what its earlier machines have cost.
///
/// # Errors
/// The budget it would break.
pub(super) fn within_budget(
    world: &World,
    policy: &Policy,
    rung: &PricedRung,
    planned: Usd,
    sunk: Usd,
    now: Time,
) -> Result<(), Blocker> {
    if policy.budget_per_incident.is_none() && policy.budget_per_month.is_none() {
        return Ok(());
    }
    let Some(at_most) = rung.at_most else { return Err(Blocker::PriceUnknown { rung: rung.rung.clone() }) };
    let estimate = Usd(at_most.0 + sunk.0);
    if let Some(limit) = policy.budget_per_incident
        && estimate > limit
    {
        return Err(Blocker::OverIncidentBudget { limit, estimate });
    }
    if let Some(limit) = policy.budget_per_month {
        let from = now.minus(MONTH);
        let all: f64 = world.iter().map(|(_, subject)| subject.record.spent_since(from).0).sum();
        let spent = Usd(all - planned.0);
        if spent.0 + estimate.0 > limit.0 {
            return Err(Blocker::OverMonthBudget { limit, estimate, spent });
        }
    }
    Ok(())
}
