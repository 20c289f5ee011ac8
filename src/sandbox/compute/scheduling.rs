//! How long a machine may run, as Compute Engine takes it (`maxRunDuration`).

use serde_json::Value;

/// Google's limits for `maxRunDuration`: 30 seconds to 120 days.
const LIMITS: std::ops::RangeInclusive<i64> = 30..=120 * 24 * 3600;

/// The limit in seconds. Google writes 64-bit numbers as texts and reads both.
pub(super) fn max_run_duration(scheduling: &Value) -> Option<i64> {
    let seconds = &scheduling["maxRunDuration"]["seconds"];
    seconds.as_i64().or_else(|| seconds.as_str()?.parse().ok())
}

/// Checks what would be refused with a 400.
///
/// # Errors
/// What is wrong, as a message for the answer.
pub(super) fn check(scheduling: &Value) -> Result<(), String> {
    if scheduling["maxRunDuration"].is_null() {
        return Ok(());
    }
    let Some(seconds) = max_run_duration(scheduling) else {
        return Err("Invalid value for field 'scheduling.maxRunDuration': it has no seconds".into());
    };
    if !LIMITS.contains(&seconds) {
        return Err(format!(
            "Invalid value for field 'scheduling.maxRunDuration.seconds': '{seconds}'. Must be between 30 seconds and \
             120 days"
        ));
    }
    match scheduling["instanceTerminationAction"].as_str() {
        Some("STOP" | "DELETE") => Ok(()),
        Some(_) | None => {
            Err("Invalid value for field 'scheduling.instanceTerminationAction': must be STOP or DELETE \
                               when maxRunDuration is set"
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_limit_has_an_action_and_is_between_half_a_minute_and_120_days() {
        let limited =
            |seconds: Value| json!({"maxRunDuration": {"seconds": seconds}, "instanceTerminationAction": "STOP"});
        for good in [json!(null), json!({}), limited(json!("30")), limited(json!(10_368_000))] {
            assert_eq!(check(&good), Ok(()), "{good}");
        }
        let without_action = json!({"maxRunDuration": {"seconds": "3600"}});
        for bad in
            [limited(json!("29")), limited(json!("10368001")), limited(json!("-1")), limited(json!({})), without_action]
        {
            assert!(check(&bad).is_err(), "{bad}");
        }
    }
}
