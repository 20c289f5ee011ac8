//! What every page keeps to, whatever the operator's names are, and how the pages of three operators read. After a wanted
//! change: `UPDATE_GOLDEN=1 cargo test --lib runbook`, and read the difference.

use proptest::prelude::*;
use strum::IntoEnumIterator as _;
use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::domain::hostile;

/// What the one who asked for it can hold in a hand.
const MOST_LINES: usize = 120;
const MOST_COLUMNS: usize = 80;

fn key(number: usize) -> PublicKey {
    let mut bytes = [0xab; 48];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    PublicKey::new(bytes)
}

fn facts() -> RunbookFacts {
    RunbookFacts {
        site: "home".into(),
        validator: ValidatorId::new("eth-0").unwrap(),
        mode: Mode::Armed,
        ledger: "gs://my-failover-ledger/home/".into(),
        guard: HomeGuard::Gate { url: "http://failover-gate-eth-0.eth.svc:8553/".into() },
        workload: Some(RunbookWorkload {
            namespace: "eth".into(),
            name: RunbookWorkloadName::StatefulSet("lighthouse".into()),
        }),
        signer: ethereum(Some(standby(StandbySigner::Lighthouse)), 2),
        cloud: Some(RunbookCloud {
            project: "my-failover".into(),
            first: "n2-standard-8 in us-central1-a".into(),
            places: 3,
            per_hour: Some(Usd(0.67)),
            limit: Span::from_hours(72),
            rehearsal: false,
        }),
        machine: RunbookMachine::Known(InstanceRef {
            zone: "us-central1-b".into(),
            name: "fo-eth-0-1a2b3c4d".into(),
            id: 42.into(),
        }),
    }
}

fn ethereum(standby: Option<EthereumRunbook>, keys: usize) -> RunbookSigner {
    let genesis_root = Some(format!("0x{}", "4b".repeat(32)));
    RunbookSigner::Ethereum { keys: (0..keys).map(key).collect(), genesis_root, home: None, standby }
}

fn standby(client: StandbySigner) -> EthereumRunbook {
    EthereumRunbook {
        network: "mainnet".into(),
        client,
        release: Some(("https://releases.example.org/client.tar.gz".into(), "ab".repeat(32))),
        fee_recipient: "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed".parse().ok(),
    }
}

#[track_caller]
fn is_bounded(facts: &RunbookFacts) {
    for topic in RunbookTopic::iter() {
        let text = facts.page(topic).text();
        let lines = text.lines().count();
        assert!(lines <= MOST_LINES, "{topic:?} has {lines} lines:\n{text}");
        for line in text.lines() {
            assert!(line.width() <= MOST_COLUMNS, "{topic:?}, {} columns: {line}", line.width());
        }
        hostile::assert_plain("page", &text, "\n");
        hostile::assert_plain("markdown", &facts.page(topic).markdown(), "\n");
    }
}

/// Every length and every form that a configuration may have, and some that it may not.
fn any_facts() -> impl Strategy<Value = RunbookFacts> {
    let text = || prop_oneof!["[a-z0-9-]{1,12}", "[ -~]{0,600}", "\\PC{0,80}", Just(hostile::flood()), "[a-z]{253}"];
    let name = (0..3_u8, text()).prop_map(|(kind, text)| match kind {
        0 => RunbookWorkloadName::StatefulSet(text),
        1 => RunbookWorkloadName::Deployment(text),
        _ => RunbookWorkloadName::Selector(text),
    });
    let workload = (text(), name).prop_map(|(namespace, name)| RunbookWorkload { namespace, name });
    let guard = (0..3_u8, text()).prop_map(|(kind, url)| match kind {
        0 => HomeGuard::None,
        1 => HomeGuard::Grants,
        _ => HomeGuard::Gate { url },
    });
    let node = (any::<bool>(), text(), proptest::option::of(text()), any::<bool>()).prop_map(
        |(prysm, network, release, paid)| EthereumRunbook {
            network: network.split(' ').next().unwrap_or_default().to_owned(),
            client: if prysm { StandbySigner::Prysm } else { StandbySigner::Lighthouse },
            release: release.map(|url| (url, "ab".repeat(32))),
            fee_recipient: standby(StandbySigner::Prysm).fee_recipient.filter(|_| paid),
        },
    );
    let signer = (0..6_u8, proptest::option::of(node), 0..600_usize, text(), text()).prop_map(
        |(kind, node, keys, network, rpc)| match kind {
            0..=2 => ethereum(node, keys),
            3 => RunbookSigner::Cometbft { network, rpc },
            4 => RunbookSigner::Cardano { network },
            _ => RunbookSigner::Other,
        },
    );
    let cloud =
        (text(), text(), 1..9_usize, any::<bool>()).prop_map(|(project, first, places, rehearsal)| RunbookCloud {
            project,
            first,
            places,
            per_hour: (!rehearsal).then_some(Usd(0.67)),
            limit: Span::from_hours(72),
            rehearsal,
        });
    let machine = (0..4_u8, text(), text()).prop_map(|(kind, zone, name)| match kind {
        0 => RunbookMachine::NoneNow,
        1 => RunbookMachine::NotRead(name),
        2 => RunbookMachine::Later,
        _ => RunbookMachine::Known(InstanceRef { zone, name, id: 42.into() }),
    });
    (text(), text(), guard, proptest::option::of(workload), signer, proptest::option::of(cloud), machine, any::<bool>())
        .prop_map(|(site, ledger, guard, workload, signer, cloud, machine, armed)| RunbookFacts {
            site,
            validator: ValidatorId::new(&"v".repeat(32)).unwrap(),
            mode: if armed { Mode::Armed } else { Mode::Observe },
            ledger,
            guard,
            workload,
            signer,
            cloud,
            machine,
        })
}

proptest! {
    #[test]
    fn a_page_is_bounded_and_plain_whatever_the_names_are(facts in any_facts()) {
        is_bounded(&facts);
        let mailed = facts.mailed();
        prop_assert!(mailed.lines.len() <= 3 * (MOST_LINES + 2));
    }
}

#[test]
fn a_page_of_the_longest_names_is_bounded() {
    let long = |c: &str, most: usize| c.repeat(most);
    let workload = RunbookWorkload { namespace: long("n", 63), name: RunbookWorkloadName::StatefulSet(long("s", 253)) };
    let mut all = RunbookFacts {
        site: long("h", 63),
        validator: ValidatorId::new(&long("v", 32)).unwrap(),
        mode: Mode::Observe,
        ledger: format!("gs://{}/{}", long("b", 63), long("p", 2000)),
        guard: HomeGuard::Gate { url: format!("http://{}", long("g", 2000)) },
        workload: Some(workload),
        ..facts()
    };
    all.cloud.as_mut().unwrap().project = long("q", 253);
    all.machine =
        RunbookMachine::Known(InstanceRef { zone: long("z", 253), name: long("m", 253), id: u64::MAX.into() });
    for client in StandbySigner::iter() {
        let longest = ("https://releases.example.org/".to_owned() + &long("r", 500), long("ab", 300));
        for release in [None, Some(longest)] {
            for fee_recipient in [None, standby(client).fee_recipient] {
                let node = EthereumRunbook { network: long("e", 500), client, release: release.clone(), fee_recipient };
                all.signer = ethereum(Some(node), 600);
                is_bounded(&all);
                is_bounded(&RunbookFacts { guard: HomeGuard::Grants, ..all.clone() });
                let hostile = RunbookWorkloadName::Deployment("(?=#i'`T4)&?IU%)N*_CiTI]?".repeat(4));
                let workload = Some(RunbookWorkload { namespace: "/(?=#".repeat(12), name: hostile });
                is_bounded(&RunbookFacts { workload, machine: RunbookMachine::Later, ..all.clone() });
            }
        }
    }
}

#[test]
fn no_page_names_what_creates_clears_or_switches_off_slashing_protection() {
    let signers = StandbySigner::iter().map(|client| ethereum(Some(standby(client)), 2));
    let others = [
        ethereum(None, 1),
        RunbookSigner::Cometbft { network: "hub-4".into(), rpc: "http://127.0.0.1:26657".into() },
        RunbookSigner::Cardano { network: "mainnet".into() },
        RunbookSigner::Other,
    ];
    for signer in signers.chain(others) {
        let facts = RunbookFacts { signer, ..facts() };
        for topic in RunbookTopic::iter() {
            let page = facts.page(topic);
            assert_eq!(forbidden_in(&(page.text() + &page.markdown())), None, "{topic:?}");
        }
    }
    for flag in ["lighthouse vc --init-slashing-protection", "validator --force-clear-db", "validator --clear-db"] {
        assert!(forbidden_in(flag).is_some(), "{flag}");
    }
}

#[test]
fn every_page_says_what_this_version_cannot_do() {
    for topic in RunbookTopic::iter() {
        let text = facts().page(topic).text().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(PROMOTION_TODAY), "{topic:?}");
    }
}

#[test]
fn what_is_not_known_is_said_as_such() {
    let bare = RunbookFacts {
        guard: HomeGuard::None,
        workload: None,
        signer: RunbookSigner::Other,
        cloud: None,
        machine: RunbookMachine::NoneNow,
        ..facts()
    };
    let all = |facts: &RunbookFacts| {
        let pages = RunbookTopic::iter().map(|topic| facts.page(topic).text());
        pages.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let text = all(&bare);
    for words in [
        "where it runs is not in the configuration",
        "NOTHING that is configured: there is no gate",
        "none can be created: there is no section `compute`",
        "What this node's signer has to remember is NOT KNOWN here",
        "What starts it there is not in the configuration",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    let node = EthereumRunbook { release: None, fee_recipient: None, ..standby(StandbySigner::Prysm) };
    let unread = RunbookMachine::NotRead("no route to host".into());
    let text = all(&RunbookFacts { signer: ethereum(Some(node), 1), machine: unread, ..facts() });
    for words in [
        "NOT in the configuration: set `standby.ethereum.fee_recipient`",
        "NOT in the configuration (`standby.ethereum.prysm.validator`)",
        "the ledger was not read (`no route to host`)",
        "0xYOURS",
        "gcloud compute ssh MACHINE --zone=ZONE --project=my-failover",
        "which one is not known here",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

#[test]
fn of_many_keys_a_few_are_named_and_all_are_counted() {
    let text = RunbookFacts { signer: ethereum(None, 500), ..facts() }.page(RunbookTopic::Lose).text();
    assert_eq!(text.matches("0x0000").count(), KEYS);
    assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains("500: ") && text.contains("497"), "{text}");
}

#[test]
fn a_known_home_client_is_the_only_one_whose_export_is_printed() {
    let exports = |home| {
        let mut facts = facts();
        if let RunbookSigner::Ethereum { home: client, .. } = &mut facts.signer {
            *client = home;
        }
        let page = facts.page(RunbookTopic::Lose);
        let printed = |client: &SignerClient| page.commands().any(|command| command == client.export());
        SignerClient::iter().filter(printed).collect::<Vec<_>>()
    };
    assert_eq!(exports(None), SignerClient::iter().collect::<Vec<_>>());
    assert_eq!(exports(Some(SignerClient::Teku)), [SignerClient::Teku]);
}

/// Such a machine gets no gate, and its signer runs in its own unit.
#[test]
fn no_page_of_another_chain_stops_a_gate_that_is_not_there() {
    let signers = [
        RunbookSigner::Cometbft { network: "bera".into(), rpc: "http://127.0.0.1:26657".into() },
        RunbookSigner::Cardano { network: "mainnet".into() },
        RunbookSigner::Other,
    ];
    for signer in signers {
        let facts = RunbookFacts { signer, guard: HomeGuard::None, ..facts() };
        for topic in RunbookTopic::iter() {
            assert!(!facts.page(topic).text().contains("failover-gate-"), "{topic:?}");
        }
        assert!(facts.page(RunbookTopic::GoBack).text().contains("disable --now failover-generic.service"));
    }
}

/// Its text is what people are mailed of again: whatever is not a change must not be one.
#[test]
fn the_digest_of_a_mail_changes_with_the_names_and_not_with_the_machine() {
    let before = facts().mailed();
    assert_eq!(facts().mailed(), before);
    let other_machine = RunbookFacts { machine: RunbookMachine::NoneNow, ..facts() };
    assert_eq!(other_machine.mailed().digest, before.digest);
    let other_site = RunbookFacts { site: "hut".into(), ..facts() };
    assert_ne!(other_site.mailed().digest, before.digest);
    assert!(!before.lines.concat().contains("fo-eth-0"));
}

#[track_caller]
fn golden(name: &str, facts: &RunbookFacts) {
    let texts = RunbookTopic::iter().map(|topic| facts.page(topic).text());
    let found = texts.chain([facts.page(RunbookTopic::Promote).markdown()]).collect::<Vec<_>>().join("\n");
    let file = format!("{}/src/domain/runbook/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &found).unwrap();
        return;
    }
    let agreed = crate::files::read_text(file.as_ref(), crate::files::MOST).unwrap();
    for (number, (found, agreed)) in found.lines().zip(agreed.lines()).enumerate() {
        assert_eq!(found, agreed, "{name} line {}", number + 1);
    }
    assert_eq!(found.len(), agreed.len(), "{name}: one of the two is longer");
}

#[test]
fn the_runbook_of_a_house_with_lighthouse_and_no_gate_reads_as_it_was_agreed() {
    let node = EthereumRunbook { release: None, fee_recipient: None, ..standby(StandbySigner::Lighthouse) };
    let (guard, workload) = (HomeGuard::None, None);
    golden("lighthouse.txt", &RunbookFacts { signer: ethereum(Some(node), 1), guard, workload, ..facts() });
}

#[test]
fn the_runbook_of_a_house_with_prysm_and_a_gate_reads_as_it_was_agreed() {
    let (signer, machine) = (ethereum(Some(standby(StandbySigner::Prysm)), 500), RunbookMachine::NoneNow);
    golden("prysm.txt", &RunbookFacts { signer, machine, mode: Mode::Observe, ..facts() });
}

#[test]
fn the_runbook_of_a_cometbft_node_reads_as_it_was_agreed() {
    let signer = RunbookSigner::Cometbft { network: "cosmoshub-4".into(), rpc: "http://127.0.0.1:26657/".into() };
    let machine = RunbookMachine::NotRead("no login at Google".into());
    golden("cometbft.txt", &RunbookFacts { signer, machine, guard: HomeGuard::Grants, ..facts() });
}
