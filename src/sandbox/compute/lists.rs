//! Lists of machines and disks: of all zones and of one, filtered and in pages.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, fault::Fault, filter::Filter, routes::Call, world::World};

fn selected(world: &mut World, call: &Call<'_>, zone: Option<&str>) -> Result<Vec<Value>, Answer> {
    let filter = filter(call)?;
    let mut found = Vec::new();
    for machine in &mut world.machines {
        if zone.is_some_and(|zone| zone != machine.zone) || !filter.matches(machine) {
            continue;
        }
        if machine.hidden_for > 0 {
            machine.hidden_for -= 1;
        } else {
            found.push(machine.json.clone());
        }
    }
    Ok(found)
}

fn filter(call: &Call<'_>) -> Result<Filter, Answer> {
    let text = call.query.get("filter").map(String::as_str).unwrap_or_default();
    Filter::parse(text).map_err(|part| {
        let message = format!("this fake of Compute Engine does not implement the filter {text}: {part}");
        Answer::error(StatusCode::NOT_IMPLEMENTED, "notImplemented", &message)
    })
}

fn page(call: &Call<'_>, all: Vec<Value>) -> (Vec<Value>, Option<String>) {
    let most = call.query.get("maxResults").and_then(|most| most.parse().ok()).unwrap_or(500).max(1);
    let from: usize = call.query.get("pageToken").and_then(|token| token.parse().ok()).unwrap_or(0);
    let next = (from + most < all.len()).then(|| (from + most).to_string());
    (all.into_iter().skip(from).take(most).collect(), next)
}

pub(super) fn aggregated(world: &mut World, call: &Call<'_>, _rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let partial = call.query.get("returnPartialSuccess").is_some_and(|value| value == "true");
    if let Some(zone) = world.unreachable().filter(|_| !partial) {
        let message = format!("zone {zone} did not answer");
        return Answer::error(StatusCode::SERVICE_UNAVAILABLE, "backendError", &message);
    }
    let all = match selected(world, call, None) {
        Ok(all) => all,
        Err(answer) => return answer,
    };
    by_zone(world, call, all, "instances", "Instance")
}

pub(super) fn disks(world: &mut World, call: &Call<'_>, _rest: &[&str], _fault: Option<&Fault>) -> Answer {
    if let Some(zone) = world.unreachable() {
        let message = format!("zone {zone} did not answer");
        return Answer::error(StatusCode::SERVICE_UNAVAILABLE, "backendError", &message);
    }
    let filter = match filter(call) {
        Ok(filter) => filter,
        Err(answer) => return answer,
    };
    let all = world.disks.values().filter(|disk| filter.matches_resource(disk)).cloned().collect();
    by_zone(world, call, all, "disks", "Disk")
}

/// One page of an aggregated list: every zone is there, also the one that has nothing on it.
fn by_zone(world: &World, call: &Call<'_>, all: Vec<Value>, plural: &str, kind: &str) -> Answer {
    let (page, next) = page(call, all);
    let mut items = serde_json::Map::new();
    for zone in world.zones.clone() {
        let here: Vec<Value> = page.iter().filter(|json| ends_with(&json["zone"], &zone)).cloned().collect();
        let scope = format!("zones/{zone}");
        let scoped = if world.is_unreachable(&zone) {
            json!({"warning": {"code": "UNREACHABLE", "message": format!("{zone} did not answer")}})
        } else if here.is_empty() {
            let data = json!([{"key": "scope", "value": scope}]);
            let message = format!("There are no results for scope '{scope}' on this page.");
            json!({"warning": {"code": "NO_RESULTS_ON_PAGE", "message": message, "data": data}})
        } else {
            json!({plural: here})
        };
        items.insert(scope, scoped);
    }
    let mut answer = json!({
        "kind": format!("compute#{}AggregatedList", kind.to_lowercase()),
        "id": format!("projects/{}/aggregated/{plural}", call.project),
        "items": items,
        "selfLink": world.link(call.project, &format!("aggregated/{plural}")),
    });
    if let Some(next) = next {
        answer["nextPageToken"] = json!(next);
    }
    if let Some(zone) = world.unreachable() {
        answer["unreachables"] = json!([world.link(call.project, &format!("zones/{zone}"))]);
    }
    Answer::ok(if kind == "Disk" { "DiskAggregatedList" } else { "InstanceAggregatedList" }, answer)
}

fn ends_with(link: &Value, name: &str) -> bool {
    link.as_str().and_then(|link| link.rsplit('/').next()) == Some(name)
}

pub(super) fn zonal(world: &mut World, call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let all = match selected(world, call, Some(rest[1])) {
        Ok(all) => all,
        Err(answer) => return answer,
    };
    let (page, next) = page(call, all);
    let path = format!("zones/{}/instances", rest[1]);
    let mut answer = json!({"kind": "compute#instanceList", "id": path, "items": page});
    answer["selfLink"] = json!(world.link(call.project, &path));
    if let Some(next) = next {
        answer["nextPageToken"] = json!(next);
    }
    Answer::ok("InstanceList", answer)
}
