//! What one look at a beacon node means for `failover check`, each with its remedy.

use crate::{
    adapters::beacon::{NodeConfig, NodeProbe},
    config::Config,
    domain::{
        ChainHealth, PublicKey, Verdict,
        chain::{KeyStates, NodeOpinion, NodeTrouble},
    },
    ports::Finding,
};

/// How many keys are named one by one.
const NAMED: usize = 8;

pub(super) fn of_node(config: &Config, node: &NodeConfig, probe: NodeProbe) -> Vec<Finding> {
    let subject = format!("beacon node {}", node.name);
    let about = |what: &str| format!("{subject}, {what}");
    let version = match probe.version {
        Ok(version) => version,
        Err(why) => return vec![Finding::problem(subject, format!("{} {why}", node.url), why.remedy())],
    };
    let mut findings = vec![Finding::ok(&subject, version)];
    findings.push(match probe.genesis_root {
        Ok(root) => Finding::ok(about("chain"), format!("follows {root}")),
        Err(why) => problem(about("chain"), &why),
    });
    findings.push(match &probe.synced {
        Ok(()) => Finding::ok(about("head"), "synced, and its clock agrees with ours"),
        Err(why) => problem(about("head"), why),
    });
    findings.push(match probe.finality {
        Ok(ChainHealth::Finalising) => Finding::ok(about("finality"), "the chain finalises"),
        Ok(ChainHealth::NotFinalising { epochs }) => {
            let detail = format!("nothing was finalised for {epochs} epochs");
            Finding::warning(about("finality"), detail, "nothing to be done here: the whole chain is unwell")
        }
        Ok(ChainHealth::Unknown) => unknown(about("finality"), &NodeTrouble::BeforeGenesis),
        Err(why) => unknown(about("finality"), &why),
    });
    match probe.keys {
        Ok(states) => {
            findings.push(keys(about("keys"), &states));
            findings.extend(refused(config, about("keys"), &probe.refused));
            findings.extend(missing(config, about("keys"), &probe.missing));
        }
        Err(why) => findings.push(unknown(about("keys"), &why)),
    }
    // What the watch would say of a node that is not well is said above.
    if probe.synced.is_ok() {
        findings.push(liveness(about("liveness"), probe.liveness));
        findings.push(match probe.rewards {
            Ok(()) => Finding::ok(about("rewards"), "it can say what the chain paid"),
            Err(why) => {
                let remedy = "a silence is then not confirmed by the chain itself, which a promotion will need: name \
                              a node that offers rewards/attestations";
                Finding::warning(about("rewards"), why.to_string(), remedy)
            }
        });
    }
    findings
}

fn problem(subject: String, why: &NodeTrouble) -> Finding {
    Finding::problem(subject, format!("it {why}"), why.remedy())
}

fn unknown(subject: String, why: &NodeTrouble) -> Finding {
    Finding::unknown(subject, format!("it {why}"), why.remedy())
}

fn keys(subject: String, states: &KeyStates) -> Finding {
    let KeyStates { active, pending, exited, slashed, .. } = states;
    let detail = format!("{active} keys active, {pending} pending, {exited} exited");
    if !slashed.is_empty() {
        let detail = format!("{detail}, slashed: {}", named(slashed));
        let remedy = "nothing is created while a slashed key is here: find out why, then take it out of `public_keys`";
        return Finding::problem(subject, detail, remedy);
    }
    if *active == 0 {
        let remedy = "the chain is no signal until one is active: correct `public_keys`, or wait for the activation";
        return Finding::problem(subject, detail, remedy);
    }
    Finding::ok(subject, detail)
}

fn refused(config: &Config, subject: String, keys: &[PublicKey]) -> Option<Finding> {
    (!keys.is_empty()).then(|| {
        let detail = format!("no key has these bytes, the node refuses them: {}", owned(config, keys));
        let remedy =
            "a digit is wrong: compare with the deposit, and correct `public_keys`. The other keys are watched";
        Finding::problem(subject, detail, remedy)
    })
}

fn missing(config: &Config, subject: String, keys: &[PublicKey]) -> Option<Finding> {
    (!keys.is_empty()).then(|| {
        let detail = format!("not on this chain: {}", owned(config, keys));
        let remedy = "compare with the deposit, and correct `public_keys`; a deposit that was just made appears within \
                      a day. Until then these keys are not watched";
        Finding::problem(subject, detail, remedy)
    })
}

fn liveness(subject: String, said: Result<Option<NodeOpinion>, NodeTrouble>) -> Finding {
    match said {
        Ok(Some(NodeOpinion { verdict: Verdict::Up, live, control, .. })) => {
            let detail = format!("{live} of {live} keys live, {} of {} others", control.live, control.total);
            Finding::ok(subject, detail)
        }
        Ok(Some(NodeOpinion { live, silent, control, .. })) => {
            let all = live + silent.len();
            let detail = format!(
                "{} of {all} keys were silent in the epoch that has just ended ({}), {} of {} others live",
                silent.len(),
                named(&silent),
                control.live,
                control.total
            );
            Finding::warning(subject, detail, "look at the validator: the node works, and this is what it sees")
        }
        Ok(None) => Finding::unknown(subject, "none of the keys has duties", "see what is said of the keys"),
        Err(why @ (NodeTrouble::ControlSilent { .. } | NodeTrouble::TooLate | NodeTrouble::BeforeGenesis)) => {
            unknown(subject, &why)
        }
        Err(why) => problem(subject, &why),
    }
}

/// The keys, whole, because one of them is wrong somewhere, each with the validator it is written under.
fn owned(config: &Config, keys: &[PublicKey]) -> String {
    let name = |key: &PublicKey| {
        let owner = config.validators.iter().find(|validator| validator.public_keys().contains(key));
        let owner = owner.map_or_else(String::new, |validator| format!(" ({})", validator.name));
        format!("{}{owner}", key.to_hex())
    };
    listed(keys.iter().map(name))
}

fn named(keys: &[PublicKey]) -> String {
    listed(keys.iter().map(ToString::to_string))
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut shown: Vec<String> = names.take(NAMED).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}
