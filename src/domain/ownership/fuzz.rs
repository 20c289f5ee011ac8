//! Grants, allowed signers, signatures and sessions as somebody hostile writes them. `PROPTEST_CASES` says how often.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::{collection::vec, prelude::*, sample::Index};
use uuid::Uuid;

use super::{
    tests::{ACCEPTED, ALLOWED, CHAIN, allowed, eth_0, grant, signed},
    *,
};
use crate::domain::{Time, ValidatorId};

/// One change of a text or of bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index, Index),
    Double(Index, Index),
    Insert(Index, Vec<u8>),
    /// The first of these words that is found, for the other one.
    Replace(&'static str, &'static str),
    Truncate(Index),
}

/// Words of the real ones, and what somebody may write in their place.
const WORDS: &[(&str, &str)] = &[
    ("\"number\":8", "\"number\":8,\"number\":8"),
    ("\"number\":8", "\"number\":9,\"number\":8"),
    ("\"number\":8", "\"number\":8.0"),
    ("\"number\":8", "\"number\":8e0"),
    ("\"number\":8", "\"number\":18446744073709551624"),
    ("\"number\":8", "\"number\":999999999999999999999999999999999999999999999"),
    ("\"number\":8", "\"number\":\"8\""),
    ("\"number\"", "\"Number\""),
    ("\"number\"", "\"\\u006eumber\""),
    ("\"grant\":", "\"grant\":{},\"grant\":"),
    ("\"signature\":", "\"more\":[[[[[[1]]]]]],\"signature\":"),
    ("\"signature\":", "\"signature\":\"\",\"signature\":"),
    ("\"home\"", "\"h\\u006fme\""),
    ("\"home\"", "\"h\u{43e}me\""),
    ("{", "{ \n\t"),
    (":", " : "),
    (",", ",,"),
    ("eth-0", "eth-0\\u0000"),
    ("eth-0", "eth-0\u{202e}"),
    ("null", "\"\""),
    ("\\n", "\\r\\n"),
    ("\\n", ""),
    ("BEGIN SSH", "BEGIN  SSH"),
    ("op@example.org", "*"),
    ("op@example.org", "op@example.org,op@example.org"),
    ("failover-grant", "failover-grant,file"),
    ("failover-grant", "FAILOVER-GRANT"),
    (" ssh-", " sk-ssh-"),
    ("namespaces=", "NAMESPACES="),
    ("namespaces=", "valid-before=\"20300101\",namespaces="),
    ("=", "==="),
    ("\n", "\r\n"),
    ("\n", "\u{2028}"),
];

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        1 => (at(), any::<u8>()).prop_map(|(at, bits)| Change::Flip(at, bits)),
        1 => (at(), at()).prop_map(|(from, to)| Change::Cut(from, to)),
        1 => (at(), at()).prop_map(|(from, to)| Change::Double(from, to)),
        1 => (at(), vec(any::<u8>(), 0..40)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (at(), "\\PC{0,20}").prop_map(|(at, text)| Change::Insert(at, text.into_bytes())),
        4 => proptest::sample::select(WORDS).prop_map(|(word, other)| Change::Replace(word, other)),
        1 => at().prop_map(Change::Truncate),
    ]
}

fn changed(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        let place = |at: &Index| at.index(bytes.len() + 1);
        let range = |from: &Index, to: &Index| place(from).min(place(to))..place(from).max(place(to));
        bytes = match change {
            Change::Flip(at, bits) => {
                let mut bytes = bytes;
                let length = bytes.len().max(1);
                bytes.iter_mut().skip(at.index(length)).take(1).for_each(|byte| *byte ^= bits);
                bytes
            }
            Change::Cut(from, to) => {
                let range = range(from, to);
                [&bytes[..range.start], &bytes[range.end..]].concat()
            }
            Change::Double(from, to) => {
                let range = range(from, to);
                [&bytes[..range.end], &bytes[range.start..]].concat()
            }
            Change::Insert(at, more) => [&bytes[..place(at)], more, &bytes[place(at)..]].concat(),
            Change::Replace(word, other) => {
                match bytes.windows(word.len()).position(|found| found == word.as_bytes()) {
                    Some(at) => [&bytes[..at], other.as_bytes(), &bytes[at + word.len()..]].concat(),
                    None => bytes,
                }
            }
            Change::Truncate(at) => bytes[..place(at)].to_vec(),
        };
    }
    bytes
}

/// A person reads it in one line of a terminal.
fn is_readable(error: &str) -> Result<(), TestCaseError> {
    prop_assert!(error.chars().count() <= 400, "{} characters: {error:?}", error.chars().count());
    prop_assert!(!error.chars().any(char::is_control), "{error:?}");
    Ok(())
}

fn refused<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<Option<T>, TestCaseError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => is_readable(&error.to_string()).map(|()| None),
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,60}",
        any::<String>(),
        "[a-z0-9-]{1,12}",
        vec(any::<char>(), 0..300).prop_map(String::from_iter)
    ]
}

fn time() -> impl Strategy<Value = Time> {
    let seconds = Time::MIN.as_second()..=Time::MAX.as_second();
    seconds.prop_map(|seconds| Time::from_second(seconds).unwrap())
}

fn place() -> impl Strategy<Value = GrantPlace> {
    prop_oneof![
        text().prop_map(|site| GrantPlace::Home { site }),
        (text(), text(), any::<u64>(), text()).prop_map(|(project, zone, id, boot_id)| {
            GrantPlace::Cloud { project, zone, instance_id: id.into(), boot_id }
        }),
    ]
}

prop_compose! {
    fn any_grant()(
        chain in text(), owner in place(), number in any::<u64>(), previous in proptest::option::of(text()),
        issued_at in time(), by in text(), reason in text(), evidence in proptest::option::of(text()),
    ) -> Grant {
        Grant { validator: eth_0(), chain, owner, number, previous, issued_at, by, reason, evidence }
    }
}

prop_compose! {
    fn any_session()(
        number in any::<u64>(), holder in proptest::option::of(any::<u128>()), runs in any::<bool>(),
        ttl_seconds in any::<u32>(), held in vec((time(), time()), 0..6), write in any::<u128>(),
    ) -> Session {
        Session {
            number,
            holder: holder.map(Uuid::from_u128),
            on_loss: if runs { OnLedgerLoss::Run } else { OnLedgerLoss::Stop },
            ttl_seconds,
            held: held.into_iter().map(|(from, until)| Held { from, until }).collect(),
            write: Uuid::from_u128(write),
        }
    }
}

proptest! {
    #[test]
    fn a_changed_grant_is_refused_or_means_the_same(kind in 0..ACCEPTED.len(), changes in vec(change(), 1..6)) {
        let original = signed(ACCEPTED[kind].1);
        let bytes = changed(&original.bytes(), &changes);
        if let Some(read) = refused(SignedGrant::parse(&bytes))? {
            let again = SignedGrant::parse(&read.bytes()).unwrap();
            prop_assert_eq!(&again, &read);
            if let Some(verified) = refused(read.verify(&eth_0(), CHAIN, &allowed(), false))? {
                prop_assert_eq!(verified.grant(), &grant());
            }
        }
    }

    /// The signature of one grant says nothing about another.
    #[test]
    fn no_other_grant_passes_under_a_real_signature(kind in 0..ACCEPTED.len(), other in any_grant()) {
        let other = SignedGrant { grant: Grant { chain: CHAIN.into(), ..other }, signature: ACCEPTED[kind].1.into() };
        prop_assume!(other.grant != grant());
        prop_assert!(refused(other.verify(&eth_0(), CHAIN, &allowed(), true))?.is_none());
    }

    #[test]
    fn a_grant_is_read_as_it_was_written(grant in any_grant(), signature in text()) {
        let written = SignedGrant { grant, signature };
        prop_assert_eq!(SignedGrant::parse(&written.bytes()), Ok(written.clone()));
        refused(written.verify(&ValidatorId::new("eth-1").unwrap(), CHAIN, &allowed(), false))?;
    }

    #[test]
    fn a_changed_signature_is_refused_or_the_same(kind in 0..ACCEPTED.len(), changes in vec(change(), 1..6)) {
        let real = ACCEPTED[kind].1;
        let text = String::from_utf8_lossy(&changed(real.as_bytes(), &changes)).into_owned();
        let body = |text: &str| text.lines().filter(|line| !line.starts_with('-')).collect::<String>();
        if refused(signed(&text).verify(&eth_0(), CHAIN, &allowed(), false))?.is_some() {
            prop_assert_eq!(body(&text), body(real));
        }
    }

    /// One line does not speak for another.
    #[test]
    fn a_changed_file_of_signers_allows_no_key_that_is_not_in_it(
        changes in vec(change(), 1..8), good in 0..ACCEPTED.len(),
    ) {
        let text = String::from_utf8_lossy(&changed(ALLOWED.as_bytes(), &changes)).into_owned();
        if let Some(signers) = refused(AllowedSigners::parse(&text))? {
            signers.problems().iter().try_for_each(|problem| is_readable(problem))?;
            for signer in signers.signers() {
                prop_assert!(text.contains(&STANDARD.encode(signer.key.blob())), "{signer:?}");
                prop_assert!(!signer.principals.iter().any(|name| name.is_empty() || name.contains(['*', '?', '!'])));
            }
        }
        let line = ALLOWED.lines().nth(good).unwrap();
        prop_assume!(text.len() < 60_000);
        let all = AllowedSigners::parse(&format!("{text}\n{line}\n")).unwrap();
        prop_assert!(signed(ACCEPTED[good].1).verify(&eth_0(), CHAIN, &all, true).is_ok());
    }

    /// The record around it has a checksum, which somebody may have made as well.
    #[test]
    fn a_session_is_read_as_it_was_written(session in any_session(), changes in vec(change(), 1..4)) {
        let bytes = serde_json::to_vec(&session).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Session>(&bytes).unwrap(), session);
        if let Ok(read) = serde_json::from_slice::<Session>(&changed(&bytes, &changes)) {
            let again = serde_json::to_vec(&read).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Session>(&again).unwrap(), read);
        }
    }

    /// Whoever may write the ledger may write the checksum as well.
    #[test]
    fn whatever_a_session_says_nothing_panics(
        session in any_session(), by in any::<u128>(), now in time(), ttl in any::<u64>(),
    ) {
        let (by, write) = (Uuid::from_u128(by), Uuid::nil());
        let held = session.held_by(by, OnLedgerLoss::Stop, Duration::from_secs(ttl), now, write);
        prop_assert_eq!(held.number, session.number);
        for session in [&session, &held, &held.given_back(now, write), &held.raised_to(ttl, write)] {
            let ends = session.holder.is_none() || session.on_loss == OnLedgerLoss::Stop;
            prop_assert_eq!(session.is_free(Duration::MAX), ends);
            prop_assert!(!session.is_fence(Duration::MAX) || session.is_free(Duration::MAX));
        }
    }

    #[test]
    fn noise_is_no_record(bytes in vec(any::<u8>(), 0..300), text in text()) {
        for bytes in [&bytes, text.as_bytes()] {
            prop_assert!(refused(SignedGrant::parse(bytes))?.is_none());
            prop_assert!(serde_json::from_slice::<Session>(bytes).is_err());
        }
        if let Some(signers) = refused(AllowedSigners::parse(&text))? {
            prop_assert!(signers.signers().is_empty(), "{signers:?}");
        }
    }
}

/// What is huge is refused before it is looked at, and what is deep before it fills a stack.
#[test]
fn a_megabyte_of_anything_is_refused() {
    const SIZE: usize = 1 << 20;
    let real = String::from_utf8(signed(ACCEPTED[0].1).bytes()).unwrap();
    let repeat = |part: &str| part.repeat(SIZE / part.len());
    let blob = |part: &str| format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----", repeat(part));
    for part in [
        "[",
        "{\"grant\":",
        "\"",
        "\\u0000",
        "1",
        " ",
        "\u{1f4a3}",
        "A",
        "\n",
        "a ssh-ed25519 AAAA\n",
        ",",
        real.as_str(),
    ] {
        let text = repeat(part);
        let error = SignedGrant::parse(text.as_bytes()).unwrap_err().to_string();
        is_readable(&error).unwrap();
        // As much as is read, so that it is looked at.
        let most = &text.as_bytes()[..64 * 1024];
        is_readable(&SignedGrant::parse(most).unwrap_err().to_string()).unwrap();
        assert_eq!(AllowedSigners::parse(&text), Err(SignersError::TooLarge));
        let most = String::from_utf8_lossy(&most[..60_000]).into_owned();
        is_readable(&AllowedSigners::parse(&most).unwrap_err().to_string()).unwrap();
        let signature = signed(&blob(part)).verify(&eth_0(), CHAIN, &allowed(), true).unwrap_err();
        is_readable(&signature.to_string()).unwrap();
        assert!(serde_json::from_slice::<Session>(text.as_bytes()).is_err());
    }
}
