//! What the real program makes of what it cannot read or verify: no answer. It starts nothing by it, and nothing that runs
//! is stopped by it.

use std::{fs, process::Command, time::Duration};

use failover::{
    domain::{
        Span, Time, TimeExt as _, ValidatorId,
        gate::WaitKind,
        ownership::{Grant, GrantPlace, MAX_GRANT_NUMBER, NAMESPACE, Session, SignedGrant},
    },
    records,
};
use uuid::Uuid;

use crate::house::{CHAIN, Case, FIRST, House, OWNER, PEOPLE, SESSION, USUAL, at_home, case, grant, pause, signed};

/// Three looks, and more than a wait.
const LOOKS: Duration = Duration::from_millis(3200);

/// An object of the ledger, what is put there, and what the gate that starts then says. `None`: it starts.
type Row = (&'static str, &'static str, Option<Vec<u8>>, Option<(WaitKind, &'static str)>);

fn grants() -> Vec<Row> {
    use WaitKind::{Grant as Refused, Ledger};
    let next = || grant(FIRST + 1, at_home());
    let other = SignedGrant { grant: next(), ..PEOPLE.sign("ann", NAMESPACE, grant(FIRST, at_home())) };
    let eth_1 = ValidatorId::new("eth-1").unwrap();
    let future = Time::UNIX_EPOCH.plus(Span::from_hours(24 * 365 * 200));
    let cloud = GrantPlace::Cloud {
        project: "p".into(),
        zone: "z".into(),
        instance_id: 7.into(),
        boot_id: Uuid::nil().to_string(),
    };
    let spaces = [signed(next()), vec![b' '; 1 << 20]].concat();
    let (put_back, no_right) = (Some((Ledger, "the ledger was put back")), "which allowed_signers does not name");
    let refused = |words| Some((Refused, words));
    let grant_is = |what, bytes: Vec<u8>, then| (what, OWNER, Some(bytes), then);
    vec![
        grant_is("another's signature", other.bytes(), refused("the signature does not fit")),
        grant_is("namespace", PEOPLE.sign("ann", "file", next()).bytes(), refused("its namespace is \"file\"")),
        grant_is("signer", PEOPLE.sign("eve", NAMESPACE, next()).bytes(), refused(no_right)),
        grant_is("name", signed(Grant { by: "eve@example.org".into(), ..next() }), refused("says it is by eve@")),
        grant_is("chain", signed(Grant { chain: "1".into(), ..next() }), refused("for the chain 1,")),
        grant_is("validator", signed(Grant { validator: eth_1, ..next() }), refused("for validator eth-1,")),
        grant_is("lower number", signed(grant(FIRST - 1, at_home())), put_back),
        grant_is("equal number", signed(Grant { reason: "other".into(), ..grant(FIRST, at_home()) }), put_back),
        grant_is("number 0", signed(grant(0, at_home())), refused("number 0 is not in")),
        grant_is("huge number", signed(grant(u64::MAX, at_home())), refused("the grant's number 18446744073709551615")),
        grant_is("the largest number", signed(grant(MAX_GRANT_NUMBER, at_home())), None),
        // After a ledger was put back, `adopt --number` signs one that does not follow what was seen here. `failover
        // grants` shows the break.
        grant_is("broken chain", signed(Grant { previous: Some("00".repeat(32)), ..next() }), None),
        // Dates order nothing: after a power cut a clock may say anything.
        grant_is("from the future", signed(Grant { issued_at: future, ..next() }), None),
        grant_is("a megabyte and more", spaces, Some((Ledger, "larger than 1048576 bytes"))),
        grant_is("100 kB", vec![b' '; 100_000], refused("the grant has 100000 bytes")),
        grant_is("no JSON", b"\0{".to_vec(), refused("cannot be read")),
        grant_is("empty", Vec::new(), refused("cannot be read")),
        ("missing", OWNER, None, refused("there is no grant")),
        grant_is("the cloud's", signed(grant(FIRST + 1, cloud)), refused("the machine 7 in z signs")),
    ]
}

fn sessions() -> Vec<Row> {
    let free = |number| Session::free(number, Uuid::new_v4());
    let good = String::from_utf8(records::encode(SESSION, &free(FIRST))).unwrap();
    let foreign = serde_json::json!({"number": 8, "holder": "pod-0", "lease": "30s"});
    let session_is = |what, bytes: Vec<u8>, words| (what, SESSION, Some(bytes), Some((WaitKind::Ledger, words)));
    vec![
        session_is("a foreign form", records::encode(SESSION, &foreign), "cannot be read"),
        session_is("of another validator", records::encode("sessions/eth-1", &free(FIRST)), "cannot be read"),
        session_is("a bit flipped", good.replace("\"number\":8", "\"number\":9").into_bytes(), "cannot be read"),
        session_is("of a later program", good.replace("\"v\":2", "\"v\":3").into_bytes(), "sessions/eth-0"),
        session_is("no JSON", b"free".to_vec(), "cannot be read"),
        session_is("empty", Vec::new(), "cannot be read"),
        session_is("two megabytes", vec![b' '; 2 << 20], "larger than 1048576 bytes"),
        session_is(
            "a number of no grant",
            records::encode(SESSION, &free(MAX_GRANT_NUMBER + 1)),
            "is none that a grant",
        ),
    ]
}

async fn row((what, object, bytes, waits): Row) {
    let put = |house: &House| match &bytes {
        Some(bytes) => house.store.set(object, bytes.clone()),
        None => house.store.forget(object),
    };
    let house = House::new().await;
    let pod = house.pod("one", USUAL, &[]).await;
    pod.runs(what).await;
    house.clients(1, what).await;
    let good = house.store.get(object).unwrap();
    put(&house);
    pause(LOOKS).await;
    assert_eq!((house.seen().now.len(), house.seen().all.len()), (1, 1), "{what}: stopped what runs");
    house.store.set(object, good);
    pod.ends().await;
    // A grant is seen, and then no older one counts.
    let good = match object {
        OWNER => signed(grant(FIRST + 2, at_home())),
        _ => house.store.get(object).unwrap(),
    };

    put(&house);
    let writes = house.renewed().1;
    let pod = house.pod("one", USUAL, &[]).await;
    let said = match waits {
        Some((kind, words)) => {
            pod.waits(what, kind, words).await;
            pause(LOOKS).await;
            assert_eq!((house.seen().all.len(), house.renewed().1), (1, writes), "{what}: started or wrote something");
            house.store.set(object, good);
            pod.runs(&format!("{what}: the good one is there again")).await;
            words
        }
        None => "",
    };
    pod.runs(what).await;
    house.clients(1, what).await;
    pod.ends().await;
    house.never_two();
    println!("{object}: {what}: started: {}, stopped: false, says: {said}", waits.is_none());
}

/// The file of who may sign: read at the start of the program, and again for each grant.
async fn signers(what: &'static str, content: Option<String>, words: &'static str) {
    let house = House::new().await;
    let file = house.path("allowed_signers");
    let good = PEOPLE.allows("ann");
    let spoil = || match &content {
        Some(content) => fs::write(&file, content).unwrap(),
        None => fs::remove_file(&file).and_then(|()| fs::create_dir(&file)).unwrap(),
    };
    let mend = || {
        if content.is_none() {
            fs::remove_dir(&file).unwrap();
        }
        fs::write(&file, &good).unwrap();
    };
    let pod = house.pod("one", USUAL, &[]).await;
    pod.runs(what).await;
    house.clients(1, what).await;
    spoil();
    pause(LOOKS).await;
    assert_eq!((house.seen().now.len(), house.seen().all.len()), (1, 1), "{what}: stopped what runs");
    // While it waits.
    house.raise(FIRST + 1);
    pod.waits(what, WaitKind::Grant, words).await;
    house.set_session(&Session::free(FIRST, Uuid::new_v4()));
    house.store.set(OWNER, signed(grant(FIRST + 1, at_home())));
    pause(LOOKS).await;
    assert_eq!(house.seen().all.len(), 1, "{what}: started something");
    mend();
    pod.runs(&format!("{what}: the good one is there again")).await;
    house.clients(1, what).await;
    pod.ends().await;
    // At the start of the program.
    spoil();
    let state = house.path("state");
    let ended = Command::new(env!("CARGO_BIN_EXE_failover-gate"))
        .args(["run", "--validator", "eth-0", "--place", "home", "--chain", CHAIN, "--duty-check", "off"])
        .args(["--ledger", "gs://ledger", "--credentials", "anonymous", "--ledger-endpoint", house.store.url()])
        .arg("--allowed-signers")
        .arg(&file)
        .arg("--state")
        .arg(&state)
        .args(["--", "true"])
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(1) && said.contains(words) && !state.exists(), "{what}: {said}");
    assert_eq!(house.seen().all.len(), 2);
    house.never_two();
    println!("allowed_signers: {what}: started: false, stopped: false, says: {words}");
}

pub fn cases() -> Vec<Case> {
    let key = PEOPLE.allows("ann");
    let key = key.split_once(' ').unwrap().1.split_once(' ').unwrap().1;
    let files = [
        ("empty", Some(String::new()), "names no key that may sign"),
        ("a folder", None, "cannot be read"),
        ("an unknown option", Some(format!("ann@example.org touch-required {key}")), "touch-required"),
        ("an end", Some(format!("ann@example.org valid-before=\"20300101\" {key}")), "valid-before"),
        ("a megabyte", Some("#\n".repeat(1 << 19)), "allowed_signers"),
    ];
    let files = files.map(|(what, content, words)| case(format!("signers: {what}"), signers(what, content, words)));
    let rows = grants().into_iter().chain(sessions());
    rows.map(|it| case(format!("{}: {}", it.1, it.0), row(it))).chain(files).collect()
}
