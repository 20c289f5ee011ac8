//! What every ledger has to keep, whatever it is made of. Each adapter runs the whole of it.

use std::sync::Arc;

use failover::{
    domain::Span,
    ports::{Expect, Ledger, MAX_RECORD, PutError, Version},
};

/// Runs everything. The ledger may hold other records; the suite's are under `suite/`.
///
/// `removes_conditionally` is false for a server that ignores `ifGenerationMatch` of a deletion (fake-gcs-server 1.56);
/// then a stale removal is not tried. Cloud Storage itself honours it.
pub async fn run(ledger: Arc<dyn Ledger>, removes_conditionally: bool) {
    absent_then_present(&*ledger).await;
    of_two_writers_one_wins(ledger.clone()).await;
    keys_of_any_kind(&*ledger).await;
    listing(&*ledger).await;
    pages(&*ledger).await;
    removing(&*ledger, removes_conditionally).await;
    too_large(&*ledger).await;
    age(&*ledger).await;
}

/// All keys, some at a time, are all keys.
async fn pages(ledger: &dyn Ledger) {
    let all = ledger.list("", None).await.unwrap();
    let mut walked: Vec<String> = Vec::new();
    loop {
        let page = ledger.page(walked.last().map(String::as_str), 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        walked.extend(page);
    }
    assert!(walked.len() > 3 && walked == all, "{walked:?} {all:?}");
}

async fn put(ledger: &dyn Ledger, key: &str, bytes: &[u8], expect: Expect) -> Version {
    ledger.put(key, bytes.to_vec(), expect).await.unwrap()
}

async fn absent_then_present(ledger: &dyn Ledger) {
    let key = "suite/first";
    assert_eq!(ledger.get(key).await.unwrap(), None);
    let first = put(ledger, key, b"one", Expect::Absent).await;
    let stored = ledger.get(key).await.unwrap().unwrap();
    assert_eq!((stored.bytes.as_slice(), &stored.version), (&b"one"[..], &first));

    let again = ledger.put(key, b"two".to_vec(), Expect::Absent).await;
    assert!(matches!(again, Err(PutError::Conflict { found: Some(found) }) if found.version == first));
    let second = put(ledger, key, b"one", Expect::Version(first.clone())).await;
    assert_ne!(first, second, "equal bytes have another version");
    let stale = ledger.put(key, b"late".to_vec(), Expect::Version(first)).await;
    assert!(matches!(stale, Err(PutError::Conflict { found: Some(found) }) if found.version == second));
    assert_eq!(ledger.get(key).await.unwrap().unwrap().bytes, b"one");

    let missing = ledger.put("suite/none", b"x".to_vec(), Expect::Version(second)).await;
    assert!(matches!(missing, Err(PutError::Conflict { found: None })), "{missing:?}");
}

/// Eight writers count together to 80; every step is a compare-and-swap, so no count is lost.
async fn of_two_writers_one_wins(ledger: Arc<dyn Ledger>) {
    let key = "suite/counter";
    put(&*ledger, key, b"0", Expect::Absent).await;
    let writers = (0..8).map(|_| {
        let ledger = ledger.clone();
        tokio::spawn(async move { count(&*ledger, key, 10).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(ledger.get(key).await.unwrap().unwrap().bytes, b"80");
}

/// Adds to a counter so many times, beside other writers.
pub async fn count(ledger: &dyn Ledger, key: &str, times: usize) {
    let mut done = 0;
    while done < times {
        let stored = ledger.get(key).await.unwrap().unwrap();
        let value: u64 = String::from_utf8(stored.bytes).unwrap().parse().unwrap();
        match ledger.put(key, (value + 1).to_string().into_bytes(), Expect::Version(stored.version)).await {
            Ok(_) => done += 1,
            Err(PutError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn keys_of_any_kind(ledger: &dyn Ledger) {
    for key in ["suite/odd/a b", "suite/odd/ä%2F?#&+", "suite/odd/..", "suite/odd/_%*'\"", "suite/odd/x/y"] {
        put(ledger, key, key.as_bytes(), Expect::Absent).await;
        assert_eq!(ledger.get(key).await.unwrap().unwrap().bytes, key.as_bytes(), "{key}");
    }
    assert_eq!(ledger.list("suite/odd/", None).await.unwrap().len(), 5);
    assert_eq!(ledger.list("suite/odd/_%", None).await.unwrap(), ["suite/odd/_%*'\""]);
}

async fn listing(ledger: &dyn Ledger) {
    let keys: Vec<String> = (0..7).map(|number| format!("suite/list/{number}")).collect();
    for key in keys.iter().rev() {
        put(ledger, key, b"x", Expect::Absent).await;
    }
    put(ledger, "suite/list0", b"x", Expect::Absent).await;
    assert_eq!(ledger.list("suite/list/", None).await.unwrap(), keys, "in order, and nothing else");
    assert_eq!(ledger.list("suite/list/", Some("suite/list/4")).await.unwrap(), keys[5..]);
    assert!(ledger.list("suite/list/", Some("suite/list/9")).await.unwrap().is_empty());
}

async fn removing(ledger: &dyn Ledger, conditionally: bool) {
    let key = "suite/gone";
    let first = put(ledger, key, b"x", Expect::Absent).await;
    let second = put(ledger, key, b"y", Expect::Version(first.clone())).await;
    if conditionally {
        assert!(matches!(ledger.remove(key, &first).await, Err(PutError::Conflict { .. })), "a stale removal");
    }
    assert!(ledger.get(key).await.unwrap().is_some());
    ledger.remove(key, &second).await.unwrap();
    assert_eq!(ledger.get(key).await.unwrap(), None);
    let third = put(ledger, key, b"x", Expect::Absent).await;
    assert!(third != first && third != second, "a version is never used again");
    assert!(matches!(ledger.remove("suite/never", &third).await, Err(PutError::Conflict { found: None })));
}

async fn too_large(ledger: &dyn Ledger) {
    let result = ledger.put("suite/large", vec![b'x'; MAX_RECORD + 1], Expect::Absent).await;
    assert!(matches!(result, Err(PutError::TooLarge(_))));
    put(ledger, "suite/large", &vec![b'x'; MAX_RECORD], Expect::Absent).await;
    assert_eq!(ledger.get("suite/large").await.unwrap().unwrap().bytes.len(), MAX_RECORD);
}

/// What has just been written is not old, and what is not there has no age.
async fn age(ledger: &dyn Ledger) {
    let version = put(ledger, "suite/young", b"x", Expect::Absent).await;
    let age = ledger.age("suite/young", &version).await.unwrap();
    assert!(age.is_none_or(|age| age < Span::from_secs(20)), "{age:?}");
    assert_eq!(ledger.age("suite/never", &version).await.unwrap(), None);
}
