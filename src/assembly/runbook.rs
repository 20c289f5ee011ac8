//! From a configuration to the facts of a runbook.

use std::collections::BTreeMap;

use crate::{
    config::{
        Config, ConsensusSettings, EthereumStandbySettings, NodeSettings, ValidatorKind, ValidatorSettings,
        WorkloadName,
    },
    domain::{
        StandbySigner, ValidatorId,
        runbook::{
            EthereumRunbook, HomeGuard, MailedRunbook, RunbookCloud, RunbookFacts, RunbookMachine, RunbookSigner,
            RunbookWorkload, RunbookWorkloadName,
        },
    },
};

/// What the configuration says of one validator. Which client it is at home is not among it.
#[must_use]
pub fn facts(config: &Config, validator: &ValidatorSettings, machine: RunbookMachine) -> RunbookFacts {
    let workload = validator.kubernetes.as_ref().map(|workload| RunbookWorkload {
        namespace: workload.namespace.clone(),
        name: match &workload.named {
            WorkloadName::StatefulSet(name) => RunbookWorkloadName::StatefulSet(name.clone()),
            WorkloadName::Deployment(name) => RunbookWorkloadName::Deployment(name.clone()),
            WorkloadName::Selector(labels) => RunbookWorkloadName::Selector(labels.clone()),
        },
    });
    let guard = match (&validator.gate, &validator.chain, &config.grants) {
        _ if !validator.signs => HomeGuard::SignsNothing,
        (Some(url), ..) => HomeGuard::Gate { url: url.to_string() },
        (None, Some(_), Some(_)) => HomeGuard::Grants,
        (None, None, _) | (None, _, None) => HomeGuard::None,
    };
    RunbookFacts {
        site: config.site.clone(),
        validator: validator.name.clone(),
        mode: config.policy.mode,
        ledger: config.ledger.to_string(),
        guard,
        workload,
        signer: signer(config, validator),
        cloud: cloud(config),
        machine,
    }
}

/// What is mailed, if anybody wants it.
#[must_use]
pub fn mailed(config: &Config) -> BTreeMap<ValidatorId, MailedRunbook> {
    let wanted = config.mail.as_ref().is_some_and(|mail| mail.runbook);
    let of = |it: &ValidatorSettings| (it.name.clone(), facts(config, it, RunbookMachine::Later).mailed());
    config.validators.iter().filter(|_| wanted).map(of).collect()
}

/// What stops the signer at home, for each validator that may have grants.
#[must_use]
pub fn home_stops(config: &Config) -> BTreeMap<ValidatorId, String> {
    let of = |it: &ValidatorSettings| (it.name.clone(), facts(config, it, RunbookMachine::Later).stop_home());
    config.validators.iter().filter(|it| config.grants.is_some() && it.chain.is_some()).map(of).collect()
}

fn signer(config: &Config, validator: &ValidatorSettings) -> RunbookSigner {
    match &validator.kind {
        ValidatorKind::Ethereum { public_keys } => RunbookSigner::Ethereum {
            keys: public_keys.clone(),
            genesis_root: config.ethereum.as_ref().and_then(|ethereum| ethereum.genesis_root.clone()),
            home: None,
            standby: config.standby.as_ref().and_then(|standby| standby.ethereum.as_ref()).map(ethereum),
        },
        ValidatorKind::Generic { standby, .. } => match standby.as_ref().and_then(|standby| standby.node.as_ref()) {
            Some(NodeSettings::Cometbft(node)) => {
                RunbookSigner::Cometbft { network: node.network.clone(), rpc: node.rpc.to_string() }
            }
            Some(NodeSettings::Cardano(node)) => {
                RunbookSigner::Cardano { network: format!("{:?}", node.network).to_lowercase() }
            }
            None => RunbookSigner::Other,
        },
    }
}

fn ethereum(standby: &EthereumStandbySettings) -> EthereumRunbook {
    let (client, release) = match &standby.consensus {
        ConsensusSettings::Lighthouse(lighthouse) => (StandbySigner::Lighthouse, &lighthouse.validator),
        ConsensusSettings::Prysm(prysm) => (StandbySigner::Prysm, &prysm.validator),
    };
    EthereumRunbook {
        network: standby.network.clone(),
        client,
        release: release.as_ref().map(|file| (file.url.to_string(), file.sha256.clone())),
        fee_recipient: standby.fee_recipient,
    }
}

fn cloud(config: &Config) -> Option<RunbookCloud> {
    let compute = config.compute.as_ref()?;
    let first = config.policy.ladder.first()?;
    Some(RunbookCloud {
        project: compute.project.clone(),
        first: first.rung.to_string(),
        places: config.policy.ladder.len(),
        per_hour: first.per_hour,
        limit: config.policy.standby_ttl,
        rehearsal: config.policy.simulated,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Checks, EXAMPLE, parse};

    const COMETBFT: &str = include_str!("../../docs/examples/cometbft.yaml");

    fn config(text: &str) -> Config {
        parse(text, "test", &Checks { files: false, ..Checks::default() }).unwrap().0
    }

    fn facts_of(text: &str) -> RunbookFacts {
        let config = config(text);
        facts(&config, &config.validators[0], RunbookMachine::NoneNow)
    }

    #[test]
    fn a_runbook_knows_what_the_configuration_says_and_nothing_else() {
        let found = facts_of(EXAMPLE);
        let RunbookSigner::Ethereum { keys, genesis_root: None, home: None, standby: Some(standby) } = &found.signer
        else {
            panic!("{found:?}");
        };
        assert_eq!((keys.len(), standby.client, standby.network.as_str()), (1, StandbySigner::Lighthouse, "mainnet"));
        assert_eq!((&standby.release, standby.fee_recipient), (&None, None));
        assert_eq!((&found.guard, &found.workload), (&HomeGuard::None, &None));
        let cloud = found.cloud.unwrap();
        assert_eq!((cloud.project.as_str(), cloud.places, cloud.rehearsal), ("my-failover", 3, false));
        let node = facts_of(COMETBFT);
        assert!(
            matches!(&node.signer, RunbookSigner::Cometbft { network, .. } if network == "cosmoshub-4"),
            "{node:?}"
        );
        assert_eq!(node.cloud, None);
    }

    #[test]
    fn nothing_is_mailed_that_nobody_asked_for() {
        let on = EXAMPLE.replace("\nmail:\n", "\ngrants: {allowed_signers: signers}\nmail:\n  runbook: true\n");
        let root = format!("\nethereum:\n  genesis_root: '0x{}'\n", "4b".repeat(32));
        let on = on.replace("\nethereum:\n", &root);
        assert_eq!((mailed(&config(EXAMPLE)).len(), mailed(&config(&on)).len()), (0, 1));
    }
}
