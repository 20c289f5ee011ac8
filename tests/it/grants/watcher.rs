//! The watcher believes what it can verify, and reports what it cannot.

use std::time::{Duration, Instant};

use failover::{
    assembly::Watcher,
    config::{self, Checks},
    domain::{LedgerKey, Owner, Span, ownership::Session},
    ports::Ledger as _,
    records,
    runtime::store::{Envelope, FORM},
    sandbox::smtp::SmtpSink,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::rig::{Office, can_sign, cloud, eth, grant, home};

async fn owner(office: &Office) -> Owner {
    let key = LedgerKey::validator(&eth());
    let stored = office.ledger().get(&key).await.unwrap();
    stored.map_or(Owner::Unknown, |stored| {
        records::decode_form::<Envelope>(&key, &stored.bytes, FORM).unwrap().validator.owner
    })
}

async fn until(office: &Office, expected: &Owner) {
    let since = Instant::now();
    loop {
        let owner = owner(office).await;
        if owner == *expected {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "it is {owner:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watcher_follows_verified_grants_and_mails_what_cannot_be_verified() {
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
    let running = tokio::spawn(watcher.run(stop.clone()));
    office.put(home(), 3).await;
    until(&office, &Owner::Home).await;
    office.set_session(&Session::free(4, Uuid::new_v4())).await;
    until(&office, &Owner::Moving { number: 4 }).await;
    assert!(mail.mails().is_empty(), "all of it is as it should be");
    let boot = Uuid::from_u128(1).to_string();
    office.put(cloud(101, 1), 4).await;
    let away = Owner::Cloud { number: 4, instance: 101.into(), boot };
    until(&office, &away).await;

    let forged = office.signed("eve", grant(home(), 5));
    office.set(&LedgerKey::owner(&eth()), forged.bytes()).await;
    let mails = mail.wait_for(1).await;
    assert!(mails[0].subject().contains("eth-0: who may sign is not known"), "{}", mails[0].subject());
    assert_eq!(owner(&office).await, away, "what was verified last stays");
    // A grant that it has seen a newer one of: the ledger was put back.
    office.put(home(), 3).await;
    let mails = mail.wait_for(2).await;
    assert!(mails[1].body.contains("the ledger was put back"), "{}", mails[1].body);
    assert_eq!(owner(&office).await, away);
    office.put(home(), 6).await;
    until(&office, &Owner::Home).await;
    assert_eq!(mail.mails().len(), 2);
    stop.cancel();
    running.await.unwrap().unwrap();
}
