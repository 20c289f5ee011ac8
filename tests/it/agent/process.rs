//! The program itself: its configuration, `--once`, reports over time, and its end.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use failover::domain::Report;
use serde_json::json;

use super::rig::Rig;

fn agent(rig: &Rig, settings: &serde_json::Value) -> Command {
    let path = rig.root.path().join("agent.json");
    std::fs::write(&path, settings.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_failover"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command.args(["agent", "--config"]).arg(path).env("GCE_METADATA_HOST", &rig.metadata.address);
    command
}

async fn output(mut command: Command) -> (i32, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn once_prints_the_report_and_leaves_none() {
    let rig = Rig::synced().await;
    let mut command = agent(&rig, &rig.settings(&json!({})));
    command.arg("--once");
    let (code, out, err) = output(command).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let report: Report = serde_json::from_str(&out).unwrap();
    assert!(report.synced && report.incident == "abcd1234");
    assert_eq!(rig.metadata.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_reports_until_it_is_terminated_and_then_ends_at_once() {
    let rig = Rig::synced().await;
    let mut command = agent(&rig, &rig.settings(&json!({})));
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let first = rig.metadata.report_that(0, |_| true).await;
    let second = rig.metadata.report_that(1, |_| true).await;
    assert!(second.counter > first.counter && second.boot_id == first.boot_id);
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(5), ended).await.expect("it ends at once").unwrap();
    assert_eq!(ended.code(), Some(0));
    // Started again within the same boot it continues counting above what it said.
    let seen = rig.metadata.asked();
    let mut child = agent(&rig, &rig.settings(&json!({}))).stderr(Stdio::null()).spawn().unwrap();
    let third = rig.metadata.report_that(seen, |_| true).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(third.counter > second.counter && third.boot_id == second.boot_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_be_used_is_refused_with_the_reason() {
    let rig = Rig::synced().await;
    let probe = json!({"name": "a", "http": {"url": "http://127.0.0.1:1/", "bearer_file": "/x"}});
    let generic =
        |probes| json!({"kind": "generic", "beacon": null, "execution": null, "genesis_root": null, "probes": probes});
    let comet = |rpc: &str, network: &str| json!({"cometbft": {"rpc": rpc, "network": network}});
    let node = |node: serde_json::Value| {
        let mut other = generic(json!([]));
        other["node"] = node;
        other
    };
    let mut both_kinds = comet("http://127.0.0.1:26657", "x");
    both_kinds["cardano"] = json!({"metrics": "http://127.0.0.1:12798/metrics", "network": "mainnet"});
    let mut both = generic(json!([{"name": "a", "tcp": {"address": "127.0.0.1:1"}}]));
    both["node"] = comet("http://127.0.0.1:26657", "x");
    for (other, says) in [
        (json!({"keystores": "/x"}), "unknown field `keystores`"),
        (json!({"beacon": null}), "kind ethereum needs beacon"),
        (json!({"beacon": "https://node.example"}), "has to be like http://127.0.0.1:5052"),
        (json!({"interval_seconds": 0}), "write 1 to 600"),
        (json!({"genesis_root": "0x12"}), "64 hexadecimal digits"),
        (json!({"units": ["--help"]}), "write names like failover-geth.service"),
        (json!({"data": "chain"}), "has to begin with a slash"),
        (json!({"incident": ""}), "incident and validator have to be there"),
        (json!({"probes": [1]}), "probes and node go with kind generic"),
        (json!({"node": comet("http://127.0.0.1:26657", "x")}), "probes and node go with kind generic"),
        (generic(json!([])), "add probes or node"),
        (generic(json!([{"name": "a"}])), "this probe asks nothing"),
        (generic(json!([probe])), "a standby holds none"),
        (node(json!(null)), "add probes or node"),
        (node(json!({})), "expected"),
        (node(both_kinds), "expected"),
        (node(json!({"bitcoin": {"rpc": "http://127.0.0.1:8332"}})), "unknown variant `bitcoin`"),
        (node(json!({"cometbft": {"rpc": "http://127.0.0.1:26657"}})), "missing field `network`"),
        (node(comet("http://127.0.0.1:26657", "")), "node.cometbft.network is empty"),
        (node(comet("https://127.0.0.1:26657", "x")), "node.cometbft.rpc has to be on this machine, like http://127"),
        (node(comet("http://rpc.example:26657", "x")), "node.cometbft.rpc has to be on this machine"),
        (node(comet("http://10.0.0.1:26657", "x")), "node.cometbft.rpc has to be on this machine"),
        (node(comet("http://me:secret@127.0.0.1:26657", "x")), "node.cometbft.rpc has to be on this machine"),
        (node(json!({"cardano": {"metrics": "http://127.0.0.1:1/", "network": "sancho"}})), "unknown variant `sancho`"),
        (
            node(json!({"cardano": {"metrics": "http://relay.example/metrics", "network": "mainnet"}})),
            "node.cardano.metrics has to be on this machine, like http://127.0.0.1:12798/metrics",
        ),
        (both, "write either probes or node"),
    ] {
        let mut command = agent(&rig, &rig.settings(&other));
        command.arg("--once");
        let (code, out, err) = output(command).await;
        assert_eq!((code, out.as_str()), (1, ""), "{other}: {err}");
        assert!(err.contains(says), "'{err}' does not say '{says}'");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_really_runs_is_seen_by_the_real_program() {
    let rig = Rig::synced().await;
    let file = rig.root.path().join("lighthouse");
    std::fs::write(&file, "#!/bin/sh\nread _\n").unwrap();
    // It runs until its input ends, which is when this test does.
    let mut signer = Command::new("sh").arg(&file).arg("vc").stdin(Stdio::piped()).spawn().unwrap();
    let mut command = agent(&rig, &rig.settings(&json!({})));
    command.arg("--once");
    let (_, out, _) = output(command).await;
    drop(signer.stdin.take());
    signer.wait().unwrap();
    let report: Report = serde_json::from_str(&out).unwrap();
    assert!(report.signer_seen && report.signer.unwrap().contains("process lighthouse vc"));
}
