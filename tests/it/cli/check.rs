//! `failover check` as people run it: the whole program between fake far ends, with one thing wrong at a time.

use scene::Scene;

mod far;
mod scene;
mod watcher;

#[tokio::test(flavor = "multi_thread")]
async fn a_house_in_which_all_is_well_ends_with_0_and_every_group_was_looked_at() {
    let scene = Scene::start().await;
    let _watcher = scene.watch().await;
    scene.watchdog().await;
    let checked = scene.check(&["--deep", "--webhook", "--alertmanager", "--wait", "20s"]);
    let bad: Vec<_> =
        checked.findings().filter(|finding| !["ok", "warning"].contains(&finding.state.as_str())).collect();
    assert!(bad.is_empty() && checked.code == 0, "{bad:#?}");
    let groups: Vec<&str> =
        checked.report["groups"].as_array().unwrap().iter().map(|group| group["group"].as_str().unwrap()).collect();
    assert_eq!(
        groups,
        ["house", "ledger", "watcher", "alerts", "chain", "process", "cloud", "standby", "mail"],
        "there is no cluster here"
    );
    checked.is("ok", "beacon node home, liveness", "2 of 2 keys live, 32 of 32 others");
    checked.is("ok", "standby.ethereum.geth at", "its digest is right");
    checked.is("ok", "Watchdog", "came ");
    checked.is("ok", "test alert to the webhook", "the watcher shows it");
    checked.is("ok", "test alert through Alertmanager", "arrived after ");
    checked.is("ok", "mail to me@x.example", "nothing was sent");
    assert_eq!(scene.mail.mails(), []);
    assert_eq!(checked.err, "", "no progress where there is no terminal");
}

#[test]
fn what_is_missing_is_a_problem_each_with_its_remedy() {
    let checked = Scene::bare("").check(&[]);
    assert_eq!(checked.code, 1);
    for (subject, remedy) in [
        ("cloud", "add `compute`"),
        ("mail", "add `mail`"),
        ("chain", "ethereum.beacon_nodes"),
        ("Alertmanager", "alertmanager.url"),
        ("Watchdog", "alertmanager.watchdog.matchers"),
    ] {
        checked.advises("problem", subject, remedy);
    }
    checked.advises("warning", "watcher", "failover serve");
    assert!(
        checked.findings().all(|finding| (finding.state == "ok") == finding.remedy.is_empty()),
        "{}",
        checked.report
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_a_line_for_each_finding_with_the_remedy_below_it() {
    let house = super::rig::House::new("");
    let shown = house.run(&["check"]);
    assert_eq!(shown.code, 1);
    assert!(shown.out.contains("\nchain\n  PROBLEM  chain: no `ethereum` section"), "{}", shown.out);
    assert!(shown.out.contains("\n           -> add `ethereum.beacon_nodes`"), "{}", shown.out);
    assert!(shown.out.lines().last().unwrap().contains("would fail on the day"), "{}", shown.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_key_is_named_and_the_others_are_judged() {
    let mut scene = Scene::start().await;
    let (refused, missing) = (scene.chain.public_key(500), scene.chain.public_key(501));
    scene.keys.extend([refused.clone(), missing.clone()]);
    scene.beacon.change(|node| node.no_points = vec![refused.clone()]);
    let checked = scene.check(&[]);
    assert_eq!(checked.code, 1);
    checked.is("problem", "beacon node home, keys", &format!("the node refuses them: {refused} (eth-0)"));
    checked.is("problem", "beacon node home, keys", &format!("not on this chain: {missing} (eth-0)"));
    checked.is("ok", "beacon node home, keys", "2 keys active");
    checked.is("ok", "beacon node home, liveness", "2 of 2 keys live");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_liveness_is_a_problem_that_names_its_option() {
    let scene = Scene::start().await;
    scene.beacon.change(|node| node.no_liveness = true);
    let checked = scene.check(&[]);
    checked.is("problem", "beacon node home, liveness", "liveness tracking is not enabled");
    checked.advises("problem", "beacon node home, liveness", "--beacon-liveness-tracking-enabled=true");
    checked.is("ok", "beacon node home, head", "synced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_sees_nobody_confirms_nothing_and_a_silent_key_is_named() {
    let scene = Scene::start().await;
    scene.beacon.change(|node| node.blind = true);
    scene.check(&[]).is("unknown", "beacon node home, liveness", "its silence means nothing");
    scene.beacon.change(|node| (node.blind, node.deaf_to) = (false, vec![3]));
    scene.check(&[]).is("warning", "beacon node home, liveness", "1 of 2 keys were silent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_not_there_or_not_itself_is_a_problem() {
    let mut scene = Scene::start().await;
    for (name, why) in [("gone", "answers 404"), ("page", "answers a web page"), ("empty", "answers nothing")] {
        scene.geth = name;
        scene.check(&[]).is("problem", "standby.ethereum.geth at", why);
    }
    scene.geth = "moved";
    scene.check(&[]).is("ok", "standby.ethereum.geth at", "is there");
    scene.geth = "other";
    scene.check(&[]).is("ok", "standby.ethereum.geth at", "is there");
    let deep = scene.check(&["--deep"]);
    deep.is("problem", "standby.ethereum.geth at", "its SHA-256 is ");
    deep.is("ok", "standby.failover at", "its digest is right");
    scene.geth = "cut";
    scene.check(&["--deep"]).is("problem", "standby.ethereum.geth at", "cut off after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_may_stand_in_for_a_release_that_is_gone() {
    let mut scene = Scene::start().await;
    scene.geth = "gone";
    scene.mirror = true;
    let checked = scene.check(&["--deep"]);
    checked.is("warning", "standby.ethereum.geth at", "answers 404");
    checked.is("ok", "standby.ethereum.geth at", "its digest is right");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_of_zeros_is_a_problem_without_any_network() {
    let mut scene = Scene::start().await;
    scene.geth_digest = "0".repeat(64);
    scene.check(&[]).is("problem", "standby.ethereum.geth", "is a placeholder");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_google_login_the_advice_is_to_log_in() {
    let mut scene = Scene::start().await;
    scene.credentials = "application_default";
    let checked = scene.check(&[]);
    checked.advises("problem", "Google login (compute.credentials)", "gcloud auth application-default login");
    assert!(!checked.report.to_string().contains("ladder"), "{}", checked.report);
    assert_eq!(
        scene.cloud.log().iter().filter(|line| line.method != "HEAD").count(),
        0,
        "nothing is asked without one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_the_server_refuses_is_a_problem_before_any_mail() {
    let scene = Scene::start().await;
    scene.mail.answer("RCPT TO:<me@x.example>", "550 5.1.1 no such user");
    scene.check(&[]).is("problem", "mail to me@x.example", "550");
    scene.mail.answer("RCPT TO:<me@x.example>", "450 4.2.0 try again");
    scene.check(&[]).is("unknown", "mail to me@x.example", "450");
    assert_eq!(scene.mail.mails(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_watcher_runs_that_is_said_once_with_how_to_start_it() {
    let scene = Scene::start().await;
    let checked = scene.check(&["--webhook", "--alertmanager"]);
    checked.is("warning", "watcher", "refuses connections");
    checked.is("problem", "test alert to the webhook", "not sent: no watcher answers");
    checked.is("problem", "test alert through Alertmanager", "not sent: no watcher answers");
    assert!(!checked.findings().any(|finding| finding.subject == "Watchdog"), "nothing is known of it");
}
