//! What a standby becomes: every file with its digest, one consensus client, and nothing that is about a key.
//!
//! Whether the files are there is found out on the machine.

use super::{
    Checker, ConsensusSettings, DownloadSettings, EthereumStandbySettings, GenericStandbySettings, GethSettings,
    LighthouseSettings, PrysmSettings, StandbySettings,
};
use crate::{
    config::{
        values::At,
        written::{ConfigFile, Download, EthereumStandby, GenericStandby, KindName, Probe, StandbySection},
    },
    domain::{BadFeeRecipient, FeeRecipient},
};

/// Networks whose genesis the clients know.
const NETWORKS: [&str; 4] = ["mainnet", "hoodi", "holesky", "sepolia"];
/// Words of options that are about keys, or about what the machine makes by itself. A standby is asked for none.
const ABOUT_KEYS: [&str; 13] = [
    "keystore",
    "wallet",
    "unlock",
    "password",
    "mnemonic",
    "validators-dir",
    "secrets-dir",
    "priv_validator",
    "priv-key",
    "kes-key",
    "vrf-key",
    "jwt",
    "interop",
];

impl Checker<'_> {
    pub(super) fn standby(&mut self, written: &At<StandbySection>) -> Option<StandbySettings> {
        let failover = self.download(&written.failover.url, &written.failover.sha256);
        let gate = written.gate.as_ref().and_then(|gate| self.download(&gate.url, &gate.sha256));
        let mirror = written.mirror.as_ref().and_then(|url| {
            let mut mirror = self.url_for_all(url, "standby.mirror")?;
            if !mirror.path().ends_with('/') {
                mirror.set_path(&format!("{}/", mirror.path()));
            }
            Some(mirror)
        });
        let ethereum = written.ethereum.as_ref().and_then(|ethereum| self.ethereum_standby(ethereum));
        Some(StandbySettings { failover: failover?, gate, mirror, ethereum })
    }

    /// Every validator has to have something that its standby runs, if there is to be a real one at all.
    pub(super) fn standbys_for_all(&mut self, written: &ConfigFile) {
        let armed = written.mode.value == crate::domain::Mode::Armed;
        let Some(standby) = &written.standby else {
            if armed {
                let message = "mode is armed, but there is no standby section: a machine would be created that follows \
                               no chain, good for a rehearsal only";
                self.warn(written.mode.place, message);
            }
            for validator in &written.validators.value {
                if let Some(own) = &validator.standby {
                    let message = "this needs the section `standby` with `failover: {url, sha256}` as well: add it";
                    self.wrong(own.place, message);
                }
            }
            return;
        };
        for validator in &written.validators.value {
            let (place, name) = (validator.kind.place, &validator.name.value);
            match (validator.kind.value, &validator.standby) {
                (KindName::Ethereum, Some(own)) => {
                    self.wrong(own.place, "what an ethereum standby runs is in `standby.ethereum`: remove this");
                }
                (KindName::Ethereum, None) if standby.ethereum.is_none() => {
                    let message = format!("validator '{name}' is of kind ethereum: add standby.ethereum for it");
                    self.wrong(standby.place, message);
                }
                (KindName::Generic, None) => {
                    let message =
                        format!("validator '{name}' is of kind generic: add `standby` to it, next to its kind");
                    self.wrong(place, message);
                }
                (KindName::Ethereum, None) | (KindName::Generic, Some(_)) => {}
            }
        }
    }

    fn ethereum_standby(&mut self, written: &At<EthereumStandby>) -> Option<EthereumStandbySettings> {
        let network = &written.network;
        let known = NETWORKS.contains(&network.as_str());
        let url = written.checkpoint_sync_url.as_ref();
        let checkpoint_sync_url = url.and_then(|url| self.url_for_all(url, "standby.ethereum.checkpoint_sync_url"));
        if known && url.is_none() {
            let message = "standby.ethereum.checkpoint_sync_url is missing: without it a sync takes weeks";
            self.wrong(written.place, message);
        }
        let geth = &written.geth;
        let download = self.download(&geth.url, &geth.sha256);
        let genesis = geth.genesis.as_ref().and_then(|genesis| self.named_download(genesis));
        let geth_args = self.args(&geth.extra_args);
        if !known && geth.genesis.is_none() {
            let names = NETWORKS.join(", ");
            let message = format!("'{}' is none of {names}: a network of your own needs geth.genesis", network.value);
            self.wrong(network.place, message);
        }
        let consensus = self.consensus(written, known);
        let fee_recipient = written.fee_recipient.as_ref().and_then(|address| self.fee_recipient(address));
        self.ports(&written.p2p_ports);
        Some(EthereumStandbySettings {
            network: network.value.clone(),
            checkpoint_sync_url,
            geth: GethSettings { download: download?, extra_args: geth_args, genesis },
            consensus: consensus?,
            fee_recipient,
            p2p_ports: written.p2p_ports.value.clone(),
        })
    }

    fn consensus(&mut self, written: &EthereumStandby, known: bool) -> Option<ConsensusSettings> {
        match (&written.lighthouse, &written.prysm) {
            (Some(lighthouse), None) => {
                if !known {
                    let message = "a network of your own runs with prysm only: lighthouse takes no genesis by address";
                    self.wrong(lighthouse.place, message);
                }
                let download = self.download(&lighthouse.url, &lighthouse.sha256);
                let extra_args = self.args(&lighthouse.extra_args);
                let validator = lighthouse.validator.as_ref().and_then(|file| self.named_download(file));
                let settings = LighthouseSettings { download: download?, extra_args, validator };
                Some(ConsensusSettings::Lighthouse(Box::new(settings)))
            }
            (None, Some(prysm)) => {
                if !known && (prysm.config.is_none() || prysm.genesis_state.is_none()) {
                    self.wrong(prysm.place, "a network of your own needs prysm.config and prysm.genesis_state");
                }
                let download = self.download(&prysm.url, &prysm.sha256);
                let extra_args = self.args(&prysm.extra_args);
                let config = prysm.config.as_ref().and_then(|file| self.named_download(file));
                let genesis_state = prysm.genesis_state.as_ref().and_then(|file| self.named_download(file));
                let validator = prysm.validator.as_ref().and_then(|file| self.named_download(file));
                Some(ConsensusSettings::Prysm(Box::new(PrysmSettings {
                    download: download?,
                    extra_args,
                    config,
                    genesis_state,
                    validator,
                })))
            }
            (Some(_), Some(prysm)) => {
                self.wrong(prysm.place, "standby.ethereum has lighthouse and prysm: keep one of them");
                None
            }
            (None, None) => {
                let message = "standby.ethereum has no consensus client: add lighthouse or prysm";
                self.wrong(written.geth.url.place, message);
                None
            }
        }
    }

    /// The line is not shown where it has no form of an address: somebody may have pasted a key.
    fn fee_recipient(&mut self, written: &At<String>) -> Option<FeeRecipient> {
        match written.parse() {
            Ok(address) => Some(address),
            Err(error @ BadFeeRecipient::Form) => {
                self.wrong_unquoted(written.place, format!("standby.ethereum.fee_recipient {error}"));
                None
            }
            Err(error @ (BadFeeRecipient::Checksum | BadFeeRecipient::Nobody)) => {
                self.wrong(written.place, format!("standby.ethereum.fee_recipient {error}"));
                None
            }
        }
    }

    pub(super) fn generic_standby(&mut self, written: &At<GenericStandby>) -> Option<GenericStandbySettings> {
        let download = self.download(&written.url, &written.sha256);
        let binary = &written.binary;
        let simple = |part: &str| !part.is_empty() && part != ".." && part != ".";
        if !binary.split('/').all(simple) || !binary.chars().all(|c| c.is_ascii_graphic() && !"\\\"'$%".contains(c)) {
            let message = format!("'{}' is not a path within the release, like bin/node", binary.value);
            self.wrong(binary.place, message);
        }
        let args = self.args(&written.args);
        let judge = self.judge(written);
        if !written.p2p_ports.is_empty() {
            self.ports(&written.p2p_ports);
        }
        let (node, health) = judge?;
        Some(GenericStandbySettings {
            download: download?,
            binary: binary.value.clone(),
            args,
            node,
            health,
            p2p_ports: written.p2p_ports.value.clone(),
        })
    }

    pub(super) fn probe_without_secret(&mut self, probe: &Probe) {
        let Some(http) = &probe.http else { return };
        let files = [http.bearer_file.as_ref().map(|file| file.place), http.ca_file.as_ref().map(|file| file.place)];
        for place in files.into_iter().flatten().chain(http.basic.as_ref().map(|basic| basic.place)) {
            self.wrong(place, "nothing secret travels to a standby: let its node answer on loopback without a login");
        }
    }

    pub(super) fn probe_of_itself(&mut self, probe: &Probe) {
        let http = probe.http.as_ref().map(|http| (&http.url, url::Url::parse(&http.url).ok()));
        let tcp =
            probe.tcp.as_ref().map(|tcp| (&tcp.address, url::Url::parse(&format!("tcp://{}", tcp.address.value)).ok()));
        for (written, url) in http.into_iter().chain(tcp) {
            self.of_itself(written, url.as_ref());
            self.no_expression(written);
            if let Some(url) = &url {
                self.seems_open(written.place, url, "the address of a probe");
            }
        }
    }

    fn named_download(&mut self, written: &Download) -> Option<DownloadSettings> {
        self.download(&written.url, &written.sha256)
    }

    fn download(&mut self, url: &At<String>, sha256: &At<String>) -> Option<DownloadSettings> {
        let parsed = self.url_for_all(url, "the url of a download");
        if parsed.as_ref().is_some_and(|url| url.path_segments().and_then(|mut parts| parts.next_back()) == Some("")) {
            self.wrong(url.place, "the url of a download has to end with the name of a file");
        }
        let digest = sha256.to_ascii_lowercase();
        if digest.len() != 64 || !digest.chars().all(|c| c.is_ascii_hexdigit()) {
            self.wrong(sha256.place, "sha256 has to be 64 hexadecimal digits: `sha256sum FILE` prints them");
        }
        Some(DownloadSettings { url: parsed?, sha256: digest })
    }

    fn args(&mut self, args: &[At<String>]) -> Vec<String> {
        for arg in args {
            let place = arg.place;
            if arg.is_empty() || arg.chars().any(char::is_control) {
                self.wrong(place, "an option is one word of a command line: not empty, on one line");
            }
            self.no_expression(arg);
            self.option_for_all(arg);
            let lower = arg.to_ascii_lowercase();
            if let Some(word) = ABOUT_KEYS.iter().find(|word| lower.contains(**word)) {
                let message = format!("'{}' looks like an option about keys ({word}): a standby has none", arg.value);
                self.wrong(place, message);
            }
        }
        args.iter().map(|arg| arg.value.clone()).collect()
    }

    fn ports(&mut self, ports: &At<Vec<u16>>) {
        let mut sorted = ports.value.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.is_empty() || sorted.contains(&0) || sorted.len() != ports.len() {
            self.wrong(ports.place, "p2p_ports has to name at least one port, none of them 0 or twice");
        }
    }
}
