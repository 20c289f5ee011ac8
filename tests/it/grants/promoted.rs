//! The watcher beside a promotion and a demotion: what it makes of their record, and which mails come of it.

use std::time::{Duration, Instant};

use failover::{
    assembly::Watcher,
    config::{self, Checks},
    domain::{
        LedgerKey, Span, Time,
        ownership::Session,
        promotion::{NotedRaise, PromotionKind, PromotionRecord, PromotionState},
    },
    records,
    runtime::Handle,
    sandbox::smtp::SmtpSink,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::rig::{Office, can_sign, cloud, eth, home};

fn record(kind: PromotionKind, number: u64) -> PromotionRecord {
    let kind = serde_json::to_value(kind).unwrap();
    let instance = serde_json::json!({"zone": "us-central1-a", "name": "fo-eth-0-1a2b3c4d", "id": "101"});
    let text = serde_json::json!({
        "validator": "eth-0", "kind": kind, "state": "open", "instance": instance, "number": number, "over": "d",
        "opened_at": Time::now(), "by": "ann@laptop", "reason": "a test", "promoted": [],
    });
    serde_json::from_value(text).unwrap()
}

async fn put(office: &Office, record: &PromotionRecord) {
    let key = LedgerKey::promotion(&eth());
    office.set(&key, records::encode(&key, record)).await;
}

/// Waits until the status has these words about its owner.
async fn shows(handle: &Handle, words: &str) {
    let since = Instant::now();
    loop {
        let lines = handle.status().await.map(|status| status.validators[0].owner_lines()).unwrap_or_default();
        if lines.iter().any(|line| line.contains(words)) {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "it shows {lines:?}, not {words}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watcher_mails_each_turn_of_a_promotion_and_that_home_signs_once_it_is_done() {
    if !can_sign() {
        return;
    }
    let mail = SmtpSink::start().await.unwrap();
    let more = format!(
        "http: {{listen: '127.0.0.1:0'}}\npolicy: {{lease: 3s}}\n\
         mail: {{host: 127.0.0.1, port: {}, tls: none, from: f@x.example, to: [me@x.example], timeout: 5s}}\n",
        mail.address().port()
    );
    let office = Office::with(&more).unwrap();
    let (mut config, _) = config::load(&office.house.config(), Checks::default()).unwrap();
    config.policy.observe_every = Span::from_millis(50);
    failover::adapters::http::install_tls_provider();
    let (watcher, stop) = (Watcher::build(&config).await.unwrap(), CancellationToken::new());
    let handle = watcher.handle().clone();
    let running = tokio::spawn(watcher.run(stop.clone()));
    let subject = async |count: usize| mail.wait_for(count).await[count - 1].subject().to_owned();

    office.put(home(), 3).await;
    shows(&handle, "owner: home by grant 3").await;
    let mut promotion = record(PromotionKind::ToCloud, 4);
    put(&office, &promotion).await;
    assert!(subject(1).await.ends_with("eth-0: promotion begun"));
    shows(&handle, "a promotion of fo-eth-0-1a2b3c4d in us-central1-a is open, by ann@laptop").await;

    // As a promotion leaves it: raised over a holder that has died, signed, done.
    let (over, write) = (Uuid::new_v4(), Uuid::new_v4());
    promotion.raise = Some(NotedRaise { over, write, unchanged_seconds: 0 });
    put(&office, &promotion).await;
    office.put(cloud(101, 1), 4).await;
    let raised = Session { holder: Some(Uuid::new_v4()), ..Session::free(4, write) };
    office.set_session(&raised).await;
    (promotion.state, promotion.promoted) = (PromotionState::Done, vec![101.into()]);
    put(&office, &promotion).await;
    assert!(subject(2).await.ends_with("eth-0: PROMOTED, the cloud owns its keys by grant 4"));
    shows(&handle, "owner: cloud by grant 4, the machine fo-eth-0-1a2b3c4d in us-central1-a").await;

    // A gate that writes it after the raise.
    office.set_session(&Session { write: Uuid::new_v4(), ..raised.clone() }).await;
    let mails = mail.wait_for(3).await;
    assert!(mails[2].subject().contains("HOME SIGNS although the cloud owns its keys"), "{}", mails[2].subject());
    assert!(mails[2].body.contains("sudo systemctl disable --now UNIT"), "{}", mails[2].body);

    let mut demotion = record(PromotionKind::ToHome, 5);
    demotion.promoted = vec![101.into()];
    put(&office, &demotion).await;
    assert!(subject(4).await.ends_with("eth-0: demotion begun"));
    office.put(home(), 5).await;
    demotion.state = PromotionState::Done;
    put(&office, &demotion).await;
    assert!(subject(5).await.ends_with("eth-0: demoted, home owns its keys by grant 5"));
    shows(&handle, "owner: home by grant 5").await;
    // What cannot be read leaves what was known, and is reported.
    office.set(&LedgerKey::promotion(&eth()), b"{".to_vec()).await;
    let mails = mail.wait_for(6).await;
    assert!(mails[5].subject().contains("what is promoted is not known"), "{}", mails[5].subject());
    assert_eq!(mails.len(), 6);
    stop.cancel();
    running.await.unwrap().unwrap();
}
