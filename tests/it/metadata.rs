//! The metadata server of the fake Compute Engine: what a machine is told, and what it may say.

use failover::{
    domain::Span,
    ports::Machines,
    sandbox::compute::{Fault, MetadataFault, Method},
};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::compute::{Rig, created, rig};

struct Seat {
    base: String,
    machine: String,
    client: Client,
}

impl Seat {
    async fn of(rig: &Rig) -> Self {
        let machine = created(rig).await.name;
        let address = rig.fake.metadata_server(&machine).await.unwrap();
        let base = format!("http://{address}/computeMetadata/v1");
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base, machine, client }
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("Metadata-Flavor", "Google")
    }

    async fn get(&self, path: &str) -> Response {
        self.signed(self.client.get(format!("{}{path}", self.base))).send().await.unwrap()
    }

    async fn text(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    }

    async fn put(&self, path: &str, value: impl Into<reqwest::Body>) -> StatusCode {
        let url = format!("{}/instance/guest-attributes/{path}", self.base);
        self.signed(self.client.put(url)).body(value).send().await.unwrap().status()
    }
}

#[tokio::test]
async fn a_machine_is_told_who_it_is_and_what_it_was_given() {
    let rig = rig().await;
    let seat = Seat::of(&rig).await;
    assert_eq!(seat.text("/instance/name").await, seat.machine);
    assert_eq!(seat.text("/project/project-id").await, "home-failover");
    assert!(seat.text("/instance/zone").await.ends_with("/zones/us-central1-a"));
    assert!(seat.text("/instance/hostname").await.starts_with(&format!("{}.us-central1-a.c.", seat.machine)));
    let id: u64 = seat.text("/instance/id").await.parse().unwrap();
    assert_eq!(id.to_string(), rig.fake.machines()[0].json["id"].as_str().unwrap());
    let script = seat.text("/instance/attributes/startup-script").await;
    assert!(script.starts_with("#!/bin/sh\n"), "{script}");
    let keys = seat.text("/instance/attributes/").await;
    assert!(keys.lines().any(|key| key == "enable-guest-attributes"), "{keys}");
    let all: Value = seat.get("/instance/?recursive=true").await.json().await.unwrap();
    assert_eq!(all["attributes"]["startup-script"], script);
    assert_eq!(all["id"], json!(id));
    assert_eq!(all["machineType"].as_str().unwrap().rsplit('/').next(), Some("n2-standard-8"));
    let one: Value = seat.get("/instance/attributes/startup-script?alt=json").await.json().await.unwrap();
    assert_eq!(one, script);
    assert!(seat.text("/instance/?recursive=true&alt=text").await.contains("attributes/startup-script #!/bin/sh"));
    let folder = seat.get("/instance/attributes").await;
    assert_eq!(folder.status(), 301);
    assert!(folder.headers()["location"].to_str().unwrap().ends_with("/instance/attributes/"));
    assert_eq!(seat.get("/instance/attributes/nothing").await.status(), 404);
    assert_eq!(seat.get("/?wait_for_change=true").await.status(), 501);
}

#[tokio::test]
async fn a_machine_without_an_account_gets_no_token() {
    let rig = rig().await;
    let seat = Seat::of(&rig).await;
    assert_eq!(seat.text("/instance/service-accounts/").await, "");
    assert_eq!(seat.get("/instance/service-accounts/default/token").await.status(), 404);
}

#[tokio::test]
async fn a_request_that_somebody_else_has_made_the_machine_send_is_refused() {
    let rig = rig().await;
    let seat = Seat::of(&rig).await;
    let url = format!("{}/instance/name", seat.base);
    let bare = seat.client.get(&url).send().await.unwrap();
    assert_eq!(bare.status(), 403);
    assert_eq!(bare.headers()["metadata-flavor"], "Google", "an answer says who gives it all the same");
    assert_eq!(bare.headers()["server"], "Metadata Server for VM");
    let wrong = seat.client.get(&url).header("Metadata-Flavor", "google").send().await.unwrap();
    assert_eq!(wrong.status(), 403);
    let forwarded = seat.signed(seat.client.get(&url)).header("X-Forwarded-For", "192.0.2.1").send().await.unwrap();
    assert_eq!(forwarded.status(), 403);
    let root = seat.client.get(seat.base.replace("/computeMetadata/v1", "/")).send().await.unwrap();
    assert_eq!((root.status(), root.headers()["metadata-flavor"].to_str().unwrap()), (StatusCode::OK, "Google"));
}

#[tokio::test]
async fn what_a_machine_says_of_itself_is_what_the_api_answers() {
    let rig = rig().await;
    let seat = Seat::of(&rig).await;
    let instance = rig.gce.find(&failover::ports::Scope::Everything).await.unwrap()[0].instance.clone();
    let report = failover::domain::Report { counter: 7, peers: 3, ..failover::domain::Report::default() };
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(seat.get("/instance/guest-attributes/failover/report").await.status(), 404);
    assert_eq!(seat.put("failover/report", text.clone()).await, 200);
    assert_eq!(seat.put("other/report", "not ours").await, 200);
    assert_eq!(seat.text("/instance/guest-attributes/failover/report").await, text);
    assert_eq!(seat.text("/instance/guest-attributes/").await, "failover/\nother/\n");
    assert_eq!(rig.gce.observe(&instance).await.unwrap().unwrap().written.report().cloned(), Some(report));
    assert_eq!(rig.fake.guest_writes(&seat.machine).len(), 2);
    let url = format!("{}/instance/guest-attributes/failover/report", seat.base);
    let delete = || async { seat.signed(seat.client.delete(&url)).send().await.unwrap().status() };
    assert_eq!((delete().await, delete().await), (StatusCode::OK, StatusCode::NOT_FOUND));
    assert_eq!(
        rig.gce.observe(&instance).await.unwrap().unwrap().written.report().cloned(),
        None,
        "another namespace is not ours"
    );
}

#[tokio::test]
async fn a_guest_attribute_has_a_name_and_a_limit_and_must_be_enabled() {
    let rig = rig().await;
    let seat = Seat::of(&rig).await;
    for bad in ["failover", "failover/", "a/b/c", "fail%20over/report", "failover/re.port"] {
        assert_eq!(seat.put(bad, "x").await, 400, "{bad}");
    }
    assert_eq!(seat.put(&format!("{}/k", "n".repeat(128)), "x").await, 400);
    assert_eq!(seat.put("failover/report", vec![0xff_u8]).await, 400, "it is text");
    assert_eq!(seat.put("failover/report", "x".repeat(256 << 10)).await, 200);
    assert_eq!(seat.put("failover/report", "x".repeat((256 << 10) + 1)).await, 400);
    rig.fake.tamper(&seat.machine, |json| json["metadata"]["items"] = json!([]));
    assert_eq!(seat.put("failover/report", "x").await, 403, "not enabled");
}

#[tokio::test]
async fn a_metadata_server_hangs_and_fails_by_script_and_is_gone_with_its_machine() {
    let rig = rig().await;
    let seat = Seat::of(&rig).await;
    rig.fake.metadata_fault(&seat.machine, Some(MetadataFault::Status(503)));
    assert_eq!(seat.get("/instance/name").await.status(), 503);
    rig.fake.metadata_fault(&seat.machine, Some(MetadataFault::Hang));
    let url = format!("{}/instance/name", seat.base);
    let bounded = seat.signed(seat.client.get(&url)).timeout(std::time::Duration::from_millis(300));
    assert!(bounded.send().await.unwrap_err().is_timeout());
    rig.fake.metadata_fault(&seat.machine, None);
    assert_eq!(seat.text("/instance/name").await, seat.machine);
    let address = rig.fake.metadata_server(&seat.machine).await.unwrap();
    assert_eq!(format!("http://{address}/computeMetadata/v1"), seat.base, "one server for one machine");
    rig.fake.vanish(&seat.machine);
    assert_eq!(seat.get("/instance/name").await.status(), 503);
    rig.fake.metadata_server(&seat.machine).await.unwrap_err();
}

#[tokio::test]
async fn a_metadata_server_whose_clock_is_ahead_answers_as_ever() {
    let rig = rig().await;
    let seat = Seat::of(&rig).await;
    let date = |answer: &Response| {
        let text = answer.headers()["date"].to_str().unwrap();
        jiff::fmt::rfc2822::parse(text).unwrap().timestamp()
    };
    let right = date(&seat.get("/instance/name").await);
    rig.fake.metadata_fault(&seat.machine, Some(MetadataFault::Ahead(Span::from_secs(120))));
    let answer = seat.get("/instance/name").await;
    assert_eq!(answer.status(), 200);
    let ahead = date(&answer).duration_since(right);
    assert!((Span::from_secs(120)..Span::from_secs(180)).contains(&ahead), "{ahead}");
}

#[tokio::test]
async fn metadata_beyond_googles_limits_is_refused_when_the_machine_is_asked_for() {
    let rig = rig().await;
    let url = format!("{}/compute/v1/projects/p/zones/us-central1-a/instances", rig.fake.url());
    let asked = |items: Value| {
        let body = json!({
            "name": "big", "machineType": "zones/us-central1-a/machineTypes/n2-standard-8",
            "disks": [{"boot": true}], "metadata": {"items": items},
        });
        let request = Client::new().post(&url).json(&body);
        async move { request.send().await.unwrap().status() }
    };
    let item = |key: &str, size: usize| json!({"key": key, "value": "x".repeat(size)});
    assert_eq!(asked(json!([item("a", (256 << 10) + 1)])).await, 400, "one value");
    assert_eq!(asked(json!([item("a", 256 << 10), item("b", 256 << 10)])).await, 400, "all together");
    assert_eq!(asked(json!([item("a", 1), item("a", 1)])).await, 400, "a key twice");
    assert_eq!(asked(json!([item("a b", 1)])).await, 400, "a key that is no part of a path");
    assert!(rig.fake.machines().is_empty());
    rig.fake.fault(Method::Insert, Fault::OutOfStock);
    assert_eq!(asked(json!([item("a", 256 << 10), item("b", 200 << 10)])).await, 200);
}
