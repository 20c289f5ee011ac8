//! What a person types at a validator client when keys move: data, one row for each client, and the one place for it.
//!
//! `docs/moving-keys.md` has the same tables for readers, and a test holds the two equal. Words in capitals (`DIR`,
//! `NETWORK`, `OUT`, `KEYS`, `WALLET`) are for the reader to fill in, or for [`filled`].
//!
//! **Invariant:** nothing here creates, clears or switches off slashing protection.

/// The validator clients whose slashing protection can be exported.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumIter, strum::EnumString, strum::VariantNames,
)]
#[strum(ascii_case_insensitive)]
pub enum SignerClient {
    Lighthouse,
    Prysm,
    Teku,
    Nimbus,
    Lodestar,
}

impl SignerClient {
    /// Writes what it has signed into a file. The client is stopped.
    #[must_use]
    pub fn export(self) -> &'static str {
        match self {
            Self::Lighthouse => {
                "lighthouse account validator slashing-protection export home.json --datadir DIR --network NETWORK"
            }
            Self::Prysm => {
                "validator slashing-protection-history export --datadir=DIR --slashing-protection-export-dir=OUT \
                 --accept-terms-of-use"
            }
            Self::Teku => "teku slashing-protection export --data-path=DIR --to=home.json",
            Self::Nimbus => "nimbus_beacon_node slashingdb export home.json --data-dir=DIR",
            Self::Lodestar => {
                "lodestar validator slashing-protection export --network NETWORK --dataDir DIR --file home.json"
            }
        }
    }
}

/// The validator clients that a standby can run after a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumIter)]
pub enum StandbySigner {
    Lighthouse,
    Prysm,
}

/// What is typed on the machine that is to sign.
#[derive(Debug, PartialEq, Eq)]
pub struct SignerCommands {
    /// The program on a standby.
    pub program: &'static str,
    pub import_protection: &'static str,
    /// How one sees that it was imported.
    pub imported: &'static str,
    pub import_keystores: &'static str,
    pub fee_recipient: &'static str,
    pub doppelganger: &'static str,
    /// What to look for in its log, as `grep -E` takes it, and what that means.
    pub log: &'static str,
    pub log_means: &'static str,
    /// Which of its metrics count the keys, as `grep -E` takes it, and what they have to say.
    pub metrics: &'static str,
    pub metrics_mean: &'static str,
    /// The port of its metrics by default.
    pub metrics_port: u16,
    /// The flag that turns them on; empty where they are on.
    pub metrics_flag: &'static str,
}

impl StandbySigner {
    #[must_use]
    pub fn client(self) -> SignerClient {
        match self {
            Self::Lighthouse => SignerClient::Lighthouse,
            Self::Prysm => SignerClient::Prysm,
        }
    }

    #[must_use]
    pub fn commands(self) -> &'static SignerCommands {
        match self {
            Self::Lighthouse => &LIGHTHOUSE,
            Self::Prysm => &PRYSM,
        }
    }
}

const LIGHTHOUSE: SignerCommands = SignerCommands {
    program: "/opt/failover/lighthouse/lighthouse",
    import_protection: "lighthouse account validator slashing-protection import watermark.json --datadir DIR --network NETWORK",
    imported: "it prints the latest block and attestation of each key",
    import_keystores: "lighthouse account validator import --directory KEYS --datadir DIR --network NETWORK",
    fee_recipient: "--suggested-fee-recipient 0x…",
    doppelganger: "--enable-doppelganger-protection",
    log: "Initialized validators|Not signing",
    log_means: "`Initialized validators` has to say `disabled: 0` and every key as enabled. `Not signing slashable` is right \
                until the mark is passed, one or two epochs. `unregistered validator` is never right: stop, import the file, \
                and do NOT take the flag that the line proposes",
    metrics: "vc_validators_(enabled|total)_count",
    metrics_mean: "both counts are the number of your keys",
    metrics_port: 5064,
    metrics_flag: "--metrics",
};

const PRYSM: SignerCommands = SignerCommands {
    program: "/opt/failover/prysm/validator",
    import_protection: "validator slashing-protection-history import --datadir=DIR --slashing-protection-json-file=watermark.json \
         --accept-terms-of-use",
    imported: "it prints `Slashing protection JSON successfully imported`; its exit code says nothing",
    import_keystores: "validator accounts import --keys-dir=KEYS --wallet-dir=WALLET --accept-terms-of-use",
    fee_recipient: "--suggested-fee-recipient=0x…",
    doppelganger: "--enable-doppelganger",
    log: "slashable public key",
    log_means: "no such line is what you want to see. Each, like `Not including slashable public key from slashing protection import`, names a key that an \
                import has disabled: it never attests. Nothing is slashed by that; stop, and find out what was imported twice",
    metrics: "validator_(statuses|successful_attestations)",
    metrics_mean: "each key has status 3 (active), and a count of attestations that grows",
    metrics_port: 8081,
    metrics_flag: "",
};

/// A command with its words in capitals replaced.
#[must_use]
pub fn filled(command: &str, with: &[(&str, &str)]) -> String {
    with.iter().fold(command.to_owned(), |command, (word, value)| command.replace(word, value))
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator as _;

    use super::*;

    const DOCS: &str = include_str!("../../docs/moving-keys.md");

    /// The cells of the rows that have this first cell, without the marks of code.
    fn rows(first: &str) -> Vec<Vec<&'static str>> {
        let cells = |line: &'static str| -> Vec<&'static str> {
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect()
        };
        DOCS.lines().filter(|line| line.starts_with('|')).map(cells).filter(|row| row[0] == first).collect()
    }

    #[test]
    fn the_documentation_has_the_same_export_for_each_client() {
        for client in SignerClient::iter() {
            let name = client.to_string();
            let found = rows(&name);
            assert!(found.iter().any(|row| row[1..] == [client.export()]), "docs/moving-keys.md, {name}: {found:?}");
        }
    }

    #[test]
    fn the_documentation_has_the_same_import_for_both_clients() {
        let [lighthouse, prysm] = [&LIGHTHOUSE, &PRYSM];
        for (first, of) in [
            ("slashing protection", [lighthouse.import_protection, prysm.import_protection]),
            ("keystores", [lighthouse.import_keystores, prysm.import_keystores]),
            ("fee recipient", [lighthouse.fee_recipient, prysm.fee_recipient]),
            ("doppelganger protection, a second net", [lighthouse.doppelganger, prysm.doppelganger]),
        ] {
            let found = rows(first);
            assert!(found.iter().any(|row| row[1..] == of), "docs/moving-keys.md, {first}: {found:?}");
        }
    }

    #[test]
    fn no_command_touches_slashing_protection_but_to_read_it_in_or_out() {
        let imports = StandbySigner::iter().map(StandbySigner::commands);
        let imports = imports.flat_map(|it| [it.import_protection, it.import_keystores, it.doppelganger]);
        for command in SignerClient::iter().map(SignerClient::export).chain(imports) {
            assert!(crate::domain::runbook::forbidden_in(command).is_none(), "{command}");
        }
    }
}
