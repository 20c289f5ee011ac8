//! What counts as a signer, and above all what does not.

use super::*;

fn process(command: &str) -> RunningProcess {
    let arguments: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    let name = arguments[0].rsplit('/').next().unwrap().chars().take(15).collect();
    RunningProcess { arguments, name, unit: None }
}

fn seen(process: RunningProcess) -> Option<String> {
    find(&SignerFacts { processes: vec![process], ..SignerFacts::default() }).seen
}

#[test]
fn every_known_signer_is_seen_by_its_command_line() {
    for (command, says) in [
        ("lighthouse vc --network mainnet", "lighthouse vc"),
        ("/usr/local/bin/lighthouse --network mainnet vc --datadir /x", "lighthouse vc"),
        ("lighthouse validator_client", "lighthouse vc"),
        ("lighthouse-v8.1.3 --datadir bn vc", "lighthouse vc"),
        ("lighthouse --debug-level=info v", "lighthouse vc"),
        ("lighthouse account validator import", "lighthouse vc"),
        ("lighthouse vm import", "lighthouse, managing keys"),
        ("/usr/local/bin/validator --wallet-dir=/x", "prysm validator"),
        ("/opt/validator-v5.3.1-linux-amd64 --accept-terms-of-use", "prysm validator"),
        ("bash /opt/prysm.sh validator --mainnet", "prysm validator"),
        ("prysm.sh validator", "prysm validator"),
        (
            "java -Xmx4g -cp /opt/teku/lib/* tech.pegasys.teku.Teku validator-client --network=mainnet",
            "teku validator-client",
        ),
        ("/opt/teku/bin/teku vc", "teku validator-client"),
        ("java tech.pegasys.teku.Teku --validator-keys=/x:/y", "teku with keys"),
        ("java tech.pegasys.web3signer.Web3SignerApp eth2", "web3signer"),
        ("nimbus_validator_client --beacon-node=http://127.0.0.1:5052", "nimbus_validator_client"),
        ("nimbus_beacon_node --validators-dir=/x", "nimbus_beacon_node with keys"),
        ("node /usr/app/packages/cli/bin/lodestar.js validator --network mainnet", "lodestar validator"),
        ("node --max-old-space-size 8192 /usr/app/node_modules/.bin/lodestar validator", "lodestar validator"),
        ("grandine --keystore-dir /x", "grandine with keys"),
        ("vouch", "vouch"),
        ("/usr/bin/dirk", "dirk"),
        ("web3signer --http-listen-port=9000 eth2", "web3signer"),
        ("charon run", "charon"),
        ("ssvnode start-node", "ssvnode"),
        ("tmkms start", "tmkms"),
        ("horcrux start", "horcrux"),
        ("kes-agent run -F", "kes-agent"),
        ("/usr/local/bin/commit-boost-signer", "commit-boost-signer"),
        ("cardano-node run --signing-key /x", "cardano-node with credentials"),
        ("cardano-node run --shelley-kes-key /x", "cardano-node with credentials"),
        ("cardano-node run --shelley-vrf-key=/x", "cardano-node with credentials"),
        ("beacond start --priv_validator_laddr tcp://0.0.0.0:26659", "a CometBFT node with a remote signer"),
        ("/lib64/ld-linux-x86-64.so.2 /opt/lighthouse vc", "lighthouse vc"),
        ("python3 -m vero", "vero"),
    ] {
        assert_eq!(seen(process(command)), Some(format!("process {says}")), "{command}");
    }
}

#[test]
fn a_client_that_only_looks_alike_is_never_taken_for_a_signer() {
    for command in [
        "lighthouse bn --network mainnet --datadir /var/lib/chain/lighthouse --http",
        "lighthouse --network mainnet bn --suggested-fee-recipient 0x0 --validator-monitor-auto",
        "lighthouse --log-level=info beacon_node --datadir /srv/validator --validator-monitor-pubkeys 0x01",
        "lighthouse boot_node",
        "lighthouse database_manager prune-states",
        "lighthouse --version",
        "beacon-chain --mainnet --accept-terms-of-use --suggested-fee-recipient=0x0",
        "beacon-chain-v5.3.1-linux-amd64 --interop-num-validators 64",
        "/bin/bash /opt/prysm.sh beacon-chain --http-port 5052",
        "geth --mainnet --authrpc.jwtsecret /etc/failover/jwt.hex",
        "nethermind --config mainnet",
        "bera-reth node --chain mainnet",
        "java -jar /opt/besu/besu.jar --data-path=/x",
        "java org.hyperledger.besu.Besu --engine-jwt-secret=/x",
        "java tech.pegasys.teku.Teku --network=mainnet --validators-proposer-default-fee-recipient=0x0",
        "nimbus_beacon_node --network=mainnet --rest",
        "node /usr/app/packages/cli/bin/lodestar beacon --network mainnet",
        "grandine --network mainnet",
        "cardano-node run --topology /etc/cardano/topology.json --port 3001",
        "beacond start",
        "cometbft node --proxy_app tcp://127.0.0.1:26658",
        "failover agent --config /etc/failover/agent.json",
        "ansible-playbook -e @/etc/failover/vars.json validator.yml",
        "grep -r validator /etc",
        "systemctl show lighthouse-vc.service",
        "tail -f /var/log/validator",
        "vi /root/validator",
        "validator-exporter --port 9100",
        "kes-agent-control key list",
        "commit-boost-pbs",
        "dirkson",
        "python3 /usr/bin/unattended-upgrade",
        "node /opt/exporter/index.js validator",
        "sshd: operator [priv]",
        "bitcoind -datadir=/var/lib/chain",
    ] {
        assert_eq!(seen(process(command)), None, "{command}");
    }
}

#[test]
fn a_command_line_written_over_or_emptied_hides_nothing() {
    let title =
        RunningProcess { arguments: vec!["lighthouse vc --network mainnet".into()], ..RunningProcess::default() };
    assert_eq!(seen(title).unwrap(), "process lighthouse vc");
    for (name, says) in [("validator", Some("prysm validator")), ("nimbus_validato", Some("nimbus_validator_client"))] {
        let emptied = RunningProcess { name: name.into(), ..RunningProcess::default() };
        assert_eq!(seen(emptied), says.map(|says| format!("process {says}")));
    }
    for name in ["kworker/0:1-events", "lighthouse", "geth", "", "beacon-chain-v5"] {
        assert_eq!(seen(RunningProcess { name: name.into(), ..RunningProcess::default() }), None, "{name}");
    }
}

#[test]
fn no_argument_is_ever_repeated() {
    let mut process = process("lighthouse vc --datadir /secret/place --http-token-path /secret/token");
    process.unit = Some("my-vc.service".into());
    let said = seen(process).unwrap();
    assert!(!said.contains("secret") && !said.contains("--"), "{said}");
    assert_eq!(said, "process lighthouse vc of my-vc.service; unit my-vc.service");
}

#[test]
fn a_unit_is_seen_by_its_name_whether_it_runs_or_is_only_installed() {
    let find = |unit: &str| find(&SignerFacts { units: [unit.to_owned()].into(), ..SignerFacts::default() }).seen;
    for unit in [
        "lighthouse-vc.service",
        "lighthousevalidator.service",
        "prysm-validator@1.service",
        "eth-validator.service",
        "web3signer.service",
        "charon_obol.service",
        "Validator.service",
    ] {
        assert_eq!(find(unit).unwrap(), format!("unit {unit}, installed"));
    }
    for unit in [
        "failover-geth.service",
        "failover-lighthouse.service",
        "failover-prysm.service",
        "failover-generic.service",
        "failover-agent.service",
        "chrony.service",
        "google-guest-agent.service",
        "serviced.service",
    ] {
        assert_eq!(find(unit), None, "{unit}");
    }
}

#[test]
fn a_signers_port_is_seen_and_a_ports_many_share_is_not() {
    let find = |port: u16| find(&SignerFacts { ports: [port].into(), ..SignerFacts::default() }).seen;
    for port in [5062, 5064, 7500, 3600, 26659] {
        assert!(find(port).unwrap().starts_with(&format!("port {port} is open")), "{port}");
    }
    for port in [9000, 5052, 8545, 8551, 30303, 8080, 8081, 22, 3500, 26656, 26657, 26658, 13000, 4000] {
        assert_eq!(find(port), None, "{port}");
    }
}

#[test]
fn what_cannot_be_looked_at_is_said_and_is_not_taken_for_a_signer() {
    let hidden = vec!["other users' processes are hidden".to_owned(); 2];
    let found = find(&SignerFacts { hidden, ..SignerFacts::default() });
    assert_eq!(found, Signs { seen: None, hidden: Some("other users' processes are hidden".into()) });
    assert_eq!(find(&SignerFacts::default()), Signs::default());
}

#[test]
fn many_signs_make_a_short_sentence() {
    let ports = PORTS.map(|(port, _)| port).into();
    let said = find(&SignerFacts { ports, ..SignerFacts::default() }).seen.unwrap();
    assert!(said.ends_with(" and 5 more") && said.len() < 300, "{said}");
}

#[test]
fn a_gate_is_no_signer_whatever_its_validator_is_called_and_what_it_has_started_is_one() {
    let unit = "failover-gate-validator-0.service";
    let of = |command: &str| RunningProcess { unit: Some(unit.into()), ..process(command) };
    let look = |processes: &[RunningProcess]| {
        let units =
            [unit.to_owned(), "failover-gate-vc.service".to_owned(), "failover-prysm.service".to_owned()].into();
        find(&SignerFacts { processes: processes.to_vec(), units, ..SignerFacts::default() })
    };
    // Installed and not running, and the client as a file that nothing has started.
    assert_eq!(look(&[]), Signs::default());
    // It waits: the gate, its keeper, and the command's process until both hold it.
    let gate = [
        of("/usr/local/bin/failover-gate run -- /opt/failover/prysm/validator --wallet-dir=/x"),
        of("/usr/local/bin/failover-gate run -- beacond start --priv_validator_laddr tcp://0.0.0.0:26659"),
        of("failover-gate"),
    ];
    assert_eq!(look(&gate), Signs::default());
    let client = of("/opt/failover/prysm/validator --wallet-dir=/x");
    let said = look(&[&gate[..], &[client]].concat()).seen;
    assert_eq!(said.as_deref(), Some("process prysm validator of failover-gate-validator-0.service"));
    // Somebody's own unit of that name's end is one still.
    let own =
        find(&SignerFacts { units: ["my-failover-gate-validator.service".into()].into(), ..SignerFacts::default() });
    assert!(own.seen.is_some());
}
