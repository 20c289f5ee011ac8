//! What home is started with, as its template says: whether that is the gate.

use failover::{
    adapters::kube::{Named, Target, WorkloadKind, commands, connect},
    domain::{ValidatorId, kube::starts_through_gate},
    sandbox::kube::{FakeApiServer, objects},
};
use serde_json::json;

#[tokio::test]
async fn the_template_says_whether_home_starts_through_the_gate_and_no_answer_says_nothing() {
    let api = FakeApiServer::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let client = connect(Some(&api.kubeconfig(folder.path()).unwrap())).await.unwrap();
    let target = |named| Target {
        validator: ValidatorId::new("eth-0").unwrap(),
        namespace: "eth".into(),
        named,
        container: Some("vc".into()),
    };
    let set = target(Named::Workload { kind: WorkloadKind::StatefulSet, name: "vc".into() });
    let said = async |target: &Target| {
        let commands = commands(client.clone(), target).await.map_err(drop)?;
        Ok(starts_through_gate(&commands, target.container.as_deref()))
    };
    assert_eq!(said(&set).await, Ok(None), "it is not there");
    for (command, behind) in [
        (json!(["/gate/failover-gate", "run"]), Some(true)),
        (json!(["lighthouse", "vc"]), Some(false)),
        (serde_json::Value::Null, None),
    ] {
        let mut object = objects::stateful_set("eth", "vc");
        let containers = json!([{"name": "bn", "command": ["lighthouse"]}, {"name": "vc", "command": command}]);
        object["spec"]["template"] = json!({"spec": {"containers": containers}});
        api.put("statefulsets", object);
        assert_eq!(said(&set).await, Ok(behind));
    }
    let mut pod = objects::pod("eth", "vc", "n");
    pod["spec"]["containers"] = json!([{"name": "vc", "command": ["/usr/local/bin/failover-gate"]}]);
    api.put("pods", pod);
    assert_eq!(said(&target(Named::Selector("app=vc".into()))).await, Ok(Some(true)));
    api.refuse("list", "statefulsets", true);
    assert_eq!(said(&set).await, Err(()), "a refusal is no answer");
}
