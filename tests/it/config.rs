//! The configuration as operators get it wrong: each mistake is refused where it stands, with what to write instead.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use failover::{
    config::{self, Checks, Config, ConfigError, EXAMPLE, HttpAuth, LedgerSettings, Warning},
    domain::{Mode, Span},
};

const KEY: &str = "0x93247f2209abcacf57b75a51dafae777f9dd38bc7053d1af526f220a7489a6d3a2753e5f3e8b1cfe39b56f43611df74a";

/// The smallest configuration there is, as lines: tests add to it or change it.
fn smallest() -> String {
    format!(
        "site: home\nledger: {{sqlite: {{path: ledger.sqlite}}}}\nvalidators:\n  - name: eth-0\n    kind: ethereum\n    \
         public_keys: [\"{KEY}\"]\n"
    )
}

fn with(more: &str) -> String {
    format!("{}{more}", smallest())
}

fn parse(text: &str) -> Result<(Config, Vec<Warning>), ConfigError> {
    config::parse(text, "failover.yaml", &Checks { files: false, ..Checks::default() })
}

/// Checks that the text is refused at the line and column of `at` (its first occurrence), saying all of `says`.
#[track_caller]
fn refused(text: &str, at: &str, says: &[&str]) {
    let error = parse(text).expect_err("this must not be taken");
    let offset = text.find(at).expect("the test names a place in its text");
    let line = text[..offset].matches('\n').count() + 1;
    let column = offset - text[..offset].rfind('\n').map_or(0, |end| end + 1) + 1;
    let message = error.to_string();
    let place = format!("failover.yaml:{line}:{column}: ");
    assert!(message.contains(&place), "expected {place} in:\n{message}");
    for said in says {
        assert!(message.contains(said), "expected {said:?} in:\n{message}");
    }
    // The line itself is shown with a mark under it.
    assert!(message.contains("\n  | ") && message.contains('^'), "{message}");
}

#[track_caller]
fn warned(text: &str, says: &str) {
    let (_, warnings) = parse(text).unwrap();
    assert!(warnings.iter().any(|warning| warning.to_string().contains(says)), "{warnings:?}");
}

#[test]
fn the_example_is_a_configuration_and_nothing_in_it_is_doubtful() {
    let (config, warnings) = parse(EXAMPLE).unwrap();
    assert_eq!(config.policy.mode, Mode::Observe, "nobody arms it by copying");
    assert_eq!(warnings, []);
    let armed = EXAMPLE.replace("\nmode: observe", "\nmode: armed");
    assert_eq!(parse(&armed).unwrap().0.policy.mode, Mode::Armed);
}

#[test]
fn the_example_is_what_the_schema_describes() {
    let schema = jsonschema::validator_for(&config::schema()).unwrap();
    let example: serde_json::Value = serde_saphyr::from_str(EXAMPLE).unwrap();
    let errors: Vec<String> = schema.iter_errors(&example).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let mut wrong = example.clone();
    wrong["sight"] = "home".into();
    assert!(!schema.is_valid(&wrong), "the schema knows that unknown keys are refused");
}

#[test]
fn what_is_not_written_has_the_documented_default() {
    let (config, _) = parse(&smallest()).unwrap();
    assert_eq!(config.policy.mode, Mode::Observe);
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.policy.hold_down, Span::from_mins(5));
    assert_eq!(config.policy.standby_ttl, Span::from_hours(72));
    assert!((config.policy.max_unhealthy - 0.5).abs() < f64::EPSILON);
    assert!(config.compute.is_none() && config.mail.is_none() && config.monitor.is_none());
}

#[test]
fn the_port_has_no_login_and_no_tls_unless_they_are_written() {
    let (config, _) = parse(&smallest()).unwrap();
    assert!(config.http.tls.is_none() && config.http.login == HttpAuth::None);
    let text = "http: {address: 'https://w', tls: {certificate_file: c, key_file: k}, login: {bearer_file: t}}\n";
    let (config, warnings) = parse(&with(text)).unwrap();
    assert!(config.http.tls.is_some() && matches!(config.http.login, HttpAuth::Bearer(_)));
    assert!(!format!("{warnings:?}").contains("http.tls"), "{warnings:?}");
    let (_, warnings) = parse(&with(&text.replace("https://w", "http://w"))).unwrap();
    assert!(format!("{warnings:?}").contains("do not agree"), "{warnings:?}");
    refused(&with("http: {tls: {certificate_file: c}}\n"), "certificate_file", &["the key 'key_file' is missing"]);
    refused(
        &with("http: {login: {basic: {username: 'a:b', password_file: p}}}\n"),
        "{basic",
        &["http.login.basic.username"],
    );
}

#[test]
fn an_unknown_key_is_refused_everywhere() {
    refused(&with("polcy: {}\n"), "polcy", &["unknown key 'polcy'", "did you mean 'policy'"]);
    refused(&with("policy: {holddown: 5m}\n"), "holddown", &["did you mean 'hold_down'"]);
    refused(
        &with("compute: {project: p1, ladder: [{zone: a-b-c, machine: x}]}\n"),
        "machine",
        &["unknown key", "machine_type"],
    );
    refused(
        &with("mail: {host: x, from: a@x, to: [a@x], password: x}\n"),
        "password",
        &["unknown key", "password_file"],
    );
}

#[test]
fn a_key_that_stands_twice_or_a_wrong_type_is_refused() {
    refused(&with("site: other\n"), "site: other", &["duplicate key 'site'", "remove one"]);
    refused(&with("budget: {per_month_usd: much}\n"), "much", &["a number"]);
    refused(&with("mode: arm\n"), "arm\n", &["'arm' is not one of the choices", "armed"]);
    refused(&with("http: []\n"), "[]", &["has to be a section"]);
    refused(&with("mail: {host: x, port: 99999, from: a, to: []}\n"), "99999", &["whole number from 0 to 65535"]);
    let two = "alertmanager: {auth: {bearer_file: x, basic: {username: a, password_file: b}}}\n";
    refused(&with(two), "basic", &["only one of the choices"]);
    refused(&with("alertmanager: {url: 'http://a'}\n"), "url", &["the key 'auth' is missing"]);
    assert!(parse("").is_err() && parse("[]").is_err() && parse("site: [").is_err());
}

#[test]
fn a_duplicate_validator_and_a_duplicate_key_are_refused_even_across_validators() {
    let twice = with(&format!(
        "  - {{name: eth-0, kind: ethereum, public_keys: [\"{}\"]}}\n",
        KEY.to_uppercase().replace("0X", "0x")
    ));
    refused(
        &twice,
        "eth-0, kind",
        &["duplicate validator 'eth-0' (first defined on line 4)", "duplicate public key '0x93247f2209ab…'"],
    );
}

#[test]
fn a_public_key_of_wrong_length_is_refused() {
    let short = smallest().replace(KEY, &KEY[..96]);
    refused(&short, "\"0x93", &["94 digits after 0x", "96"]);
    refused(&smallest().replace(KEY, &KEY[2..]), "\"9324", &["does not begin with 0x"]);
    let private = format!("0x{}", "1f".repeat(32));
    let text = smallest().replace(KEY, &private);
    let said = parse(&text).unwrap_err().problems()[0].message.clone();
    assert!(said.contains("never put a private key here") && !said.contains(&private), "{said}");
}

#[test]
fn a_duration_that_is_negative_zero_or_without_a_unit_is_refused() {
    for bad in ["-5m", "0s", "300", "soon"] {
        refused(&with(&format!("policy: {{hold_down: {bad}}}\n")), bad, &["5m", bad]);
    }
}

#[test]
fn every_problem_is_reported_at_once_and_in_the_order_of_the_file() {
    let text = with("budget: {per_month_usd: 0}\nhttp: {listen: nowhere}\n").replace("site: home", "site: My Home");
    let error = parse(&text).unwrap_err();
    let lines: Vec<u64> = error.problems().iter().map(|problem| problem.place.line).collect();
    assert_eq!(lines, [1, 7, 8], "{error}");
}

#[test]
fn thresholds_that_contradict_each_other_are_refused() {
    refused(&with("policy: {hold_down: 100h}\n"), "100h", &["policy.hold_down", "policy.standby_ttl (72h)"]);
    refused(&with("policy: {standby_ttl: 1m}\n"), "1m}", &["policy.hold_down", "at least 30m"]);
    refused(&with("policy: {max_boot_attempts: 0}\n"), "0}", &["policy.max_boot_attempts", "1 to 10"]);
    let sha = "ab".repeat(32);
    let hasty = |standby: &str| with(&format!("policy: {{boot_deadline: 170s}}\n{standby}"));
    let standby = format!("standby: {{failover: {{url: 'https://a/failover', sha256: {sha}}}}}\n");
    refused(&hasty(&standby), "170s", &["policy.boot_deadline", "at least 3m", "first word"]);
    assert!(parse(&hasty("")).is_ok(), "a machine that is a rehearsal never speaks, and is not given up");
    refused(&with("policy: {ready_hold: 100h}\n"), "100h", &["policy.ready_hold", "policy.standby_ttl (72h)"]);
    refused(&with("policy: {lease: 100ms}\n"), "100ms", &["200ms"]);
    refused(&with("policy: {standby_ttl: 2881h}\n"), "2881h", &["policy.standby_ttl", "at most 2880h"]);
    refused(&with("policy: {observe_every: 20m}\n"), "observe_every", &["unknown key"]);
    refused(&with("policy: {max_unhealthy: 150%}\n"), "150%", &["50%"]);
    refused(&with("budget: {per_incident_usd: 60, per_month_usd: 50}\n"), "60", &["per_month_usd"]);
    refused(&with("budget: {per_incident_usd: -1}\n"), "-1", &["more than 0"]);
}

#[test]
fn armed_needs_a_cloud_and_two_independent_sources_and_should_have_mail() {
    let armed = with("mode: armed\n");
    refused(&armed, "armed", &["no compute section", "'mode: observe'"]);
    refused(&armed, "eth-0", &["can never be confirmed down", "it has none"]);
    warned(&smallest(), "can never be confirmed down");
    // An alert that rests on the chain is the chain's evidence, not a second opinion.
    let ethereum =
        "ethereum: {beacon_nodes: [{name: a, url: http://a:5052}]}\nalertmanager: {auth: {bearer_file: t}}\n";
    let compute = "mode: armed\ncompute: {project: p, ladder: [{zone: a-b-c, machine_type: m}]}\n";
    let alert = |evidence| format!("    alerts: [{{matchers: 'a=\"b\"', evidence: {evidence}}}]\n");
    refused(&with(&format!("{}{ethereum}{compute}", alert("chain"))), "eth-0", &["rest on the chain as well"]);
    refused(&with(&format!("{ethereum}{compute}")), "eth-0", &["it has the chain only"]);
    // Alerts of different evidence still come through one Alertmanager.
    let alone = "alertmanager: {auth: {bearer_file: t}}\n";
    refused(&with(&format!("{}{alone}{compute}", alert("host"))), "eth-0", &["its alerts are one together"]);
    warned(&with(&format!("{}{ethereum}{compute}", alert("process"))), "no mail section");
}

#[test]
fn an_open_door_is_refused() {
    refused(&with("alertmanager: {auth: none}\n"), "none", &["anybody could send alerts", "127.0.0.1"]);
    parse(&with("alertmanager: {auth: none}\nhttp: {listen: '127.0.0.1:0'}\n")).unwrap();
    let mail = |tls: &str, host: &str| with(&format!("mail: {{host: {host}, from: a@x.y, to: [b@x.y], tls: {tls}}}\n"));
    refused(&mail("none", "smtp.x.y"), "none", &["another machine"]);
    parse(&mail("none", "localhost")).unwrap();
    let ledger = |endpoint: &str| {
        let gcs = format!("{{gcs: {{bucket: bbb, credentials: anonymous{endpoint}}}}}");
        smallest().replace("{sqlite: {path: ledger.sqlite}}", &gcs)
    };
    refused(&ledger(""), "anonymous", &["application_default"]);
    refused(&ledger(", endpoint: 'http://storage.example'"), "anonymous", &["on this machine"]);
    parse(&ledger(", endpoint: 'http://127.0.0.1:4443'")).unwrap();
    let url = "ethereum: {beacon_nodes: [{name: a, url: 'http://me:secret@a:5052'}]}\n";
    let error = parse(&with(url)).unwrap_err().to_string();
    assert!(error.contains("failover.yaml:7:42: ") && error.contains("secrets belong in files"), "{error}");
    assert!(!error.contains("me:secret"), "a message may end in a log: {error}");
}

#[test]
fn a_runbook_is_mailed_of_validators_that_have_grants() {
    let on = "mail: {host: smtp.x.y, from: a@x.y, to: [b@x.y], runbook: true}\n";
    refused(&with(on), "true}", &["mail.runbook is on, but there is no section `grants`", "add `grants`"]);
    let grants = "grants: {allowed_signers: signers}\nethereum: {genesis_root: 'ROOT', beacon_nodes: [{name: a, url: \
                  'http://a:5052'}]}\n"
        .replace("ROOT", &format!("0x{}", "4b".repeat(32)));
    assert!(parse(&with(&format!("{grants}{on}"))).unwrap().0.mail.unwrap().runbook);
    assert!(!parse(&with(&on.replace(", runbook: true", ""))).unwrap().0.mail.unwrap().runbook);
}

#[test]
fn mail_that_nobody_can_get_is_refused() {
    let mail = |more: &str| with(&format!("mail: {{host: smtp.x.y, from: a@x.y, {more}}}\n"));
    refused(&mail("to: []"), "[]", &["mail.to is empty"]);
    refused(&mail("to: [me]"), "me]", &["'me' is not a plain mail address"]);
    refused(&mail("to: [b@x.y, b@x.y]"), "b@x.y]", &["duplicate recipient"]);
    refused(&mail("to: [b@x.y], username: me"), "me}", &["mail.password_file"]);
}

#[test]
fn a_kind_or_a_ladder_that_cannot_be_used_is_refused() {
    refused(
        &smallest().replace("kind: ethereum", "kind: cardano"),
        "cardano",
        &["'cardano' is not one of the choices", "write one of: ethereum, generic"],
    );
    let compute = |ladder: &str| with(&format!("compute: {{project: p, ladder: {ladder}}}\n"));
    refused(&compute("[]"), "[]", &["compute.ladder is empty"]);
    let rung = "{zone: us-central1-a, machine_type: m}";
    refused(&compute(&format!("[{rung}, {rung} ]")), "{zone: us-central1-a, machine_type: m} ]", &["duplicate rung"]);
    refused(&compute("[{zone: us-central1, machine_type: m}]"), "{zone", &["not a zone"]);
}

#[test]
fn prices_of_ones_own_are_over_the_built_in_ones_and_nonsense_is_refused() {
    let prices = |text: &str| {
        parse(&format!(
            "{}compute:\n  project: p\n  ladder: [{{zone: europe-west4-a, machine_type: n2-standard-8}}]\n  \
             prices: {{as_of: 2026-11-20, source: my contract, {text}}}\n",
            smallest()
        ))
    };
    let table = prices("machines_per_hour: {n2-standard-8: 0.3}").unwrap().0.compute.unwrap().prices;
    assert_eq!((table.machines["n2-standard-8"], table.machines["n2-standard-4"]), (0.3, 0.194_236));
    let text = |wrong: &str| {
        with(&format!(
            "compute:\n  project: p\n  ladder: [{{zone: europe-west4-a, machine_type: n2-standard-8}}]\n  \
             prices: {{as_of: 2026-13-20, source: x, {wrong}}}\n"
        ))
    };
    refused(&text("machines_per_hour: {n2-standard-8: -1}"), "-1}", &["is not a price in US dollars"]);
    refused(&text("disks_per_gb_month: {pd-ssd: .nan}"), ".nan", &["is not a price in US dollars"]);
    refused(&text("external_address_per_hour: 0.1"), "2026-13-20", &["is not a day like"]);
}

#[test]
fn wrong_matchers_are_reported_where_they_stand() {
    let text = with("    alerts: [{matchers: 'oops', evidence: host}]\nalertmanager: {auth: {bearer_file: t}}\n");
    let error = config::parse(&text, "f", &Checks { files: false, ..Checks::default() }).unwrap_err();
    assert!(error.to_string().starts_with("f:7:25: at column 1: 'oops' needs one of"), "{error}");
}

fn in_folder(text: &str, prepare: impl FnOnce(&Path)) -> Result<(Config, Vec<Warning>), ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("failover.yaml");
    fs::write(&path, text).unwrap();
    prepare(folder.path());
    config::load(&path, Checks::default())
}

const BEARER: &str = "alertmanager: {auth: {bearer_file: token}}\n";

#[test]
fn a_secret_file_that_cannot_be_used_is_refused_with_its_path() {
    let missing = in_folder(&with(BEARER), |_| {}).unwrap_err().to_string();
    assert!(missing.contains("/token: No such file") && missing.contains(":7:22: "), "{missing}");
    let empty = in_folder(&with(BEARER), |folder| fs::write(folder.join("token"), "\n").unwrap()).unwrap_err();
    assert!(empty.to_string().contains("/token is empty"), "{empty}");
    let folder = in_folder(&with(BEARER), |folder| fs::create_dir(folder.join("token")).unwrap()).unwrap_err();
    assert!(folder.to_string().contains("cannot read the secret file"), "{folder}");
}

#[test]
fn a_secret_that_everybody_can_read_is_a_warning_and_one_that_only_we_can_read_is_not() {
    for (mode, expected) in [(0o644, 1), (0o600, 0)] {
        let (_, warnings) = in_folder(&with(BEARER), |folder| {
            fs::write(folder.join("token"), "secret").unwrap();
            fs::set_permissions(folder.join("token"), fs::Permissions::from_mode(mode)).unwrap();
        })
        .unwrap();
        let readable = warnings.iter().filter(|warning| warning.to_string().contains("can read the secret")).count();
        assert_eq!(readable, expected, "{warnings:?}");
    }
}

#[test]
fn a_ping_url_is_checked_and_never_shown() {
    let text = with("monitor: {ping_url_file: ping}\n");
    let error = in_folder(&text, |folder| fs::write(folder.join("ping"), "not-a-url-but-secret").unwrap()).unwrap_err();
    assert!(error.to_string().contains("holds no http or https URL"), "{error}");
    assert!(!error.to_string().contains("but-secret"));
}

#[test]
fn paths_are_looked_for_beside_the_configuration() {
    let keys = smallest().replace(&format!("public_keys: [\"{KEY}\"]"), "public_keys_file: keys");
    let (config, _) =
        in_folder(&keys, |folder| fs::write(folder.join("keys"), format!("# ours\n\n{KEY} # one\n")).unwrap()).unwrap();
    assert_eq!(config.validators[0].public_keys()[0].to_hex(), KEY);
    let LedgerSettings::Sqlite { path } = config.ledger else { panic!("sqlite is configured") };
    assert!(path.is_absolute() && path.ends_with("ledger.sqlite"));
    assert!(in_folder(&keys, |_| {}).unwrap_err().to_string().contains("cannot read keys"));
}

#[test]
fn a_ledger_file_is_taken_with_the_warning_that_it_does_not_survive_the_house() {
    warned(&smallest(), "does not survive the loss of the house");
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let error = config::load(Path::new("/nowhere/failover.yaml"), Checks::default()).unwrap_err();
    assert!(error.to_string().contains("/nowhere/failover.yaml: No such file"), "{error}");
}

/// Every key of the schema, as `section.key`.
fn keys(schema: &serde_json::Value, root: &serde_json::Value, prefix: &str, found: &mut Vec<String>) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => root.pointer(name.trim_start_matches('#')).expect("references are within the schema"),
        None => schema,
    };
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        keys(inner, root, &path, found);
        found.push(path);
    }
    for part in ["anyOf", "oneOf", "allOf"] {
        schema[part].as_array().into_iter().flatten().for_each(|inner| keys(inner, root, prefix, found));
    }
    if schema["items"].is_object() {
        keys(&schema["items"], root, prefix, found);
    }
}

#[test]
fn the_documentation_explains_every_key_and_no_key_that_is_not_there() {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md")).unwrap();
    let schema = config::schema();
    let mut all = Vec::new();
    keys(&schema, &schema, "", &mut all);
    assert!(all.len() > 70, "the walk over the schema finds {} keys only", all.len());
    let documented: Vec<&str> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once('`'))
        .map(|(key, _)| key)
        .collect();
    for key in &all {
        // The probes of a standby are those of a validator, explained once.
        let key = &key.replace("validators.standby.probes.", "validators.probes.");
        assert!(documented.contains(&key.as_str()), "docs/configuration.md does not explain `{key}`");
    }
    for key in documented {
        assert!(all.iter().any(|known| known == key), "docs/configuration.md explains `{key}`, which is no key");
    }
}

#[test]
fn a_file_cut_off_anywhere_is_answered_and_never_a_panic() {
    for (end, _) in EXAMPLE.char_indices() {
        if let Err(error) = parse(&EXAMPLE[..end]) {
            assert!(
                error.problems().iter().all(|problem| problem.place.line > 0 && problem.place.column > 0),
                "{error}"
            );
        }
    }
}

/// The smallest configuration, with these lines in its validator.
fn with_workload(workload: &str) -> String {
    with(&format!("    kubernetes: {workload}\n"))
}

#[test]
fn a_validator_is_one_thing_in_its_cluster() {
    let (config, _) = parse(&with_workload("{namespace: eth, statefulset: vc, container: main}")).unwrap();
    let workload = config.validators[0].kubernetes.clone().unwrap();
    assert_eq!(workload.named, config::WorkloadName::StatefulSet("vc".into()));
    assert_eq!((workload.namespace.as_str(), workload.container.as_deref()), ("eth", Some("main")));
    refused(
        &with_workload("{namespace: eth}"),
        "{namespace: eth}",
        &["add one of statefulset, deployment and selector"],
    );
    let both = "{namespace: eth, statefulset: vc, deployment: vc}";
    refused(&with_workload(both), both, &["more than one of", "keep one of them"]);
    refused(&with_workload("{namespace: ETH, statefulset: vc}"), "ETH", &["'ETH' is not a name in Kubernetes"]);
    refused(&with_workload("{namespace: eth, statefulset: ../x}"), "../x", &["is not a name in Kubernetes"]);
    refused(&with_workload("{statefulset: vc}"), "statefulset: vc", &["'namespace' is missing"]);
}

#[test]
fn a_selector_that_would_match_every_pod_is_refused() {
    refused(&with_workload("{namespace: eth, selector: ''}"), "''", &["would match every pod"]);
    refused(&with_workload("{namespace: eth, selector: 'app=a b'}"), "'app=a b'", &["is no requirement on labels"]);
    for good in ["app=vc", "app in (a,b),tier!=x", "!legacy,example.org/app==vc", "app"] {
        parse(&with_workload(&format!("{{namespace: eth, selector: '{good}'}}"))).unwrap();
    }
}

#[test]
fn two_validators_never_name_the_same_workload() {
    let other = KEY.replace("0x93", "0xa3");
    let text = format!(
        "{}  - name: eth-1\n    kind: ethereum\n    public_keys: [\"{other}\"]\n    \
         kubernetes: {{namespace: eth, statefulset: vc-0}}\n",
        with_workload("{namespace: eth, statefulset: vc}")
    );
    parse(&text).unwrap();
    let text = text.replace("statefulset: vc-0", "statefulset: 'vc'");
    refused(&text, "'vc'", &["duplicate workload 'statefulset eth/vc' (first defined on line 7)"]);
}

#[test]
fn a_kubeconfig_that_is_not_there_is_refused_where_it_is_named() {
    let text = with("kubernetes: {kubeconfig: not-there.yaml}\n");
    let error = config::parse(&text, "failover.yaml", &Checks::default()).unwrap_err().to_string();
    assert!(error.contains("not-there.yaml cannot be read"), "{error}");
    refused(&with("kubernetes: {crash_loop: restart}\n"), "restart", &["'restart' is not one of the choices"]);
}

#[test]
fn the_cluster_is_a_source_beside_the_chain_and_not_beside_alerts_about_itself() {
    let kube = with_workload("{namespace: eth, statefulset: vc}");
    warned(&kube, "it has the cluster only");
    let alerts = "    alerts: [{matchers: '{a=\"b\"}', evidence: kube}]\nalertmanager: {auth: {bearer_file: t}}\n";
    warned(&format!("{kube}{alerts}"), "its alerts rest on the cluster as well");
    let never = |text: &str| {
        let (_, warnings) = parse(text).unwrap();
        warnings.iter().any(|warning| warning.to_string().contains("can never be confirmed"))
    };
    assert!(!never(&format!("{kube}{}", alerts.replace("kube", "host"))));
    assert!(!never(&format!("{kube}ethereum: {{beacon_nodes: [{{name: a, url: 'http://a:5052'}}]}}\n")));
}
