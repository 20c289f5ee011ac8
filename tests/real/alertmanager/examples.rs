//! What we ship is what `promtool` and `amtool` accept, and matchers mean here what they mean to Alertmanager.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use failover::domain::alerts::{Labels, Matchers};

use super::server::program;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples").join(name)
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The receivers a route tree sends these labels to.
fn receivers(config: &Path, labels: &[(&str, &str)], options: &[&str]) -> Output {
    let mut command = Command::new(program("alertmanager", "amtool"));
    command.args(options);
    command.args(["config", "routes", "test"]).arg(format!("--config.file={}", config.display()));
    for (name, value) in labels {
        command.arg(format!("{name}={value:?}"));
    }
    run(&mut command)
}

#[test]
fn no_shipped_alert_lets_go_in_an_outage_or_fires_in_a_healthy_house() {
    let output = run(&mut Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules/run.sh")));
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn amtool_accepts_the_example_and_routes_alerts_to_us_and_to_people() {
    let config = example("alertmanager.yaml");
    let output = run(Command::new(program("alertmanager", "amtool")).arg("check-config").arg(&config));
    assert!(output.status.success(), "{}", text(&output));
    for (name, expected) in
        [("Watchdog", "failover-watchdog"), ("ValidatorDown", "failover,people"), ("SomethingElse", "people")]
    {
        let output = receivers(&config, &[("alertname", name)], &[]);
        assert_eq!(text(&output).trim(), expected, "{name}");
    }
}

#[test]
fn matchers_mean_what_they_mean_to_alertmanager() {
    let labels = [("alertname", "ValidatorDown"), ("namespace", "eth-0"), ("pod", "vc-12"), ("note", "a b, {c}")];
    let ours: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for matcher in [
        "alertname=ValidatorDown",
        "alertname=Validator",
        "{alertname=\"ValidatorDown\"}",
        "alertname=\"ValidatorDown\",",
        " { alertname = ValidatorDown , namespace =~ eth.* } ",
        "namespace=~eth",
        "namespace=~\"eth|eth-0\"",
        "namespace!~\"eth\"",
        "namespace!~eth.+",
        "severity!=info",
        "severity=\"\"",
        "severity!=\"\"",
        "severity=~\".*\"",
        "severity=~\".+\"",
        "pod=~\"vc-\\\\d+\"",
        "pod=~\"vc-\\d+\"",
        "note=\"a b, {c}\"",
        "\"note\"=~\"a b.*\"",
        "alertname=~\"(?i)validatordown\"",
        "alertname",
        "alertname==x",
        "alertname=~\"(\"",
        "alertname=\"ValidatorDown",
        "{alertname=ValidatorDown",
        "alertname=ValidatorDown}",
        "alertname!ValidatorDown",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alertmanager.yaml");
        let config = serde_json::json!({
            "route": { "receiver": "miss", "routes": [{ "receiver": "hit", "matchers": [matcher] }] },
            "receivers": [{ "name": "hit" }, { "name": "miss" }],
        });
        std::fs::write(&file, config.to_string()).unwrap();
        let here = matcher.parse::<Matchers>().ok().map(|matchers| matchers.matches(&ours));
        // What is refused here is refused by the UTF-8 syntax. By default Alertmanager then tries its older one, of
        // which only the backslash in quotes is taken here.
        let options: &[&str] = if here.is_none() { &["--enable-feature=utf8-strict-mode"] } else { &[] };
        let output = receivers(&file, &labels, options);
        // Warnings about the older syntax come before the answer.
        let theirs = output.status.success().then(|| text(&output).lines().last() == Some("hit"));
        assert_eq!(here, theirs, "{matcher}: {}", text(&output));
    }
}
