//! `--lose`: home is gone. In which order up to a cloud that runs.

use super::{HomeGuard, Mode, PROMOTION_TODAY, RunbookFacts, RunbookPage, RunbookSigner, google, page::shown, price};
use crate::domain::SignerClient;

pub(super) fn page(facts: &RunbookFacts) -> RunbookPage {
    let id = facts.id();
    let mut page = RunbookPage::new(format!("RUNBOOK --lose: home is gone ({id})"));
    page.say(PROMOTION_TODAY);
    facts.head(&mut page);
    page.say(
        "There is time. A validator that is offline loses about what it would have earned; two that sign at once are \
         slashed. Nothing below signs anything.",
    );

    page.step("See what is known. Down is not gone: what is only unreachable still signs.");
    page.command("failover status");
    page.command(format!("failover journal {id}"));
    if let Some(workload) = &facts.workload {
        page.command(format!("kubectl -n {} get {}", workload.namespace(), workload.target()));
    }
    if let RunbookSigner::Ethereum { keys, .. } = &facts.signer {
        page.item(format!(
            "With a block explorer, from anywhere: do these keys still attest? {}",
            if keys.len() > 1 { "Look at several." } else { "Wait for two epochs." }
        ));
    }

    page.step(
        "No laptop, no cluster? The program, this configuration and your login at Google are enough, on any machine; a \
         ledger in a bucket is reachable from there.",
    );
    page.command("gcloud auth application-default login");
    page.command("failover status --config failover.yaml");
    page.item(
        "Nobody holds the lease? The watcher died with home. With a ledger in a bucket start one here, leave it running, and \
         open the incident by hand below. A ledger in a file at home is gone with its disk.",
    );
    page.command("failover serve --config failover.yaml");

    standby(facts, &mut page);
    keep_home_off(facts, false, &mut page);

    if let RunbookSigner::Ethereum { home, .. } = &facts.signer {
        export(id, *home, &mut page);
    }
    page.step(match &facts.signer {
        RunbookSigner::Ethereum { .. } => {
            "Fetch the keys now: keystores and their passwords, or the words they were made of. Where you keep them is not \
             known here. Nothing else is needed of home: `--promote` makes the rest from public data."
        }
        RunbookSigner::Cometbft { .. } | RunbookSigner::Cardano { .. } | RunbookSigner::Other => {
            "Fetch the key files of the signer now (CometBFT: `priv_validator_key.json`; Cardano: certificate, KES and VRF key). \
             Where you keep them is not known here."
        }
    });

    page.step("Move the keys, if home will be away for long. Else wait here until it is repaired.");
    page.command(format!("failover runbook {id} --promote"));

    page.step(
        "Home is back before ANY key was imported elsewhere? Destroy what you fetched of the keys, undo what keeps home off, \
         and let it start. Its standby goes by itself, unless you kept it. If a key was imported anywhere:",
    );
    page.command(format!("failover runbook {id} --go-back"));
    page
}

fn export(id: &str, home: Option<SignerClient>, page: &mut RunbookPage) {
    page.step(match home {
        Some(client) => format!("If home's disk can be read: export what it signed, with {client} stopped."),
        None => {
            "If home's disk can be read: export what it signed, with its client stopped; which one is not known here."
                .to_owned()
        }
    });
    let all = <SignerClient as strum::IntoEnumIterator>::iter();
    for client in all.filter(|client| home.is_none_or(|home| home == *client)) {
        page.command(client.export());
    }
    page.item(
        "In a cluster, from a pod that mounts the volume and starts no client. Prysm has to say `Successfully wrote`; its file is \
         OUT/slashing_protection.json, here home.json. Then judge it; ended with 3, it must not be used.",
    );
    page.command(format!("failover lint-interchange home.json --validator {id}"));
}

fn standby(facts: &RunbookFacts, page: &mut RunbookPage) {
    let id = facts.id();
    let Some(cloud) = &facts.cloud else {
        page.step(
            "A standby cannot be created: there is no section `compute` in the configuration. Add it, or repair home.",
        );
        page.command("failover config example");
        return;
    };
    page.step(format!(
        "Have a standby. It begins by itself once two sources agree{}. It is {}.",
        match facts.mode {
            Mode::Armed => "",
            Mode::Observe =>
                "; but `mode` is `observe`, so nothing is created until you write `armed` and restart the watcher",
        },
        price(cloud)
    ));
    page.command("failover plan");
    page.command(format!("failover open {id} --reason='home is gone: WHY'"));
    page.command("failover status --watch");
    page.command(format!("failover logs {id} --follow"));
    if cloud.rehearsal {
        page.item("It will follow no chain: there is no section `standby`. It is a rehearsal and can never sign.");
    }
    page.item("A sync takes hours. You are mailed when it is ready, or when it does not get on.");
    page.step(
        "Only if you want it for longer, keep it once it is ready: else it goes when home shows up. A machine that runs keeps \
         its limit: it stops then, undeleted, and `retain` prints how to clear that.",
    );
    page.command(format!("failover retain {id} --reason='I keep it until the keys are moved'"));
    let project = google(&cloud.project, "PROJECT");
    page.item(format!("From then on it costs until you delete it. All machines of {}:", shown(&cloud.project)));
    page.command(format!("gcloud compute instances list --project={project} --filter=labels.app=failover"));
}

/// What proves that the old signer cannot sign any more: before a promotion, or once it has signed the machine's grant.
pub(super) fn keep_home_off(facts: &RunbookFacts, granted_away: bool, page: &mut RunbookPage) {
    let id = facts.id();
    page.step("See to it that home cannot come back by itself. Without that, nothing that follows is safe.");
    match &facts.guard {
        HomeGuard::Gate { .. } | HomeGuard::Grants => {
            page.command(format!("failover grants {id}"));
            page.item(
                "Home's gate has ended its signer once its session was given back, or is old (not with \
                 `on_ledger_loss: run`: that one never ends by age).",
            );
            page.item(if granted_away {
                "From your signature on the grant is the machine's: home's gate starts nothing again, whenever it comes back. What \
                 is started beside the gate it does not hold, so its power stays off, or its workload at zero."
            } else {
                "While the grant is home's, its gate starts its signer when it comes back. Before a key is used elsewhere that is \
                 right; `failover promote` ends it, by your signature."
            });
        }
        HomeGuard::SignsNothing => page.item("It signs nothing: if it comes back, nothing happens but a second node."),
        HomeGuard::None => page.item(
            "There is no gate, so only your own hands prove it: its disk in your hand, or its power cut where nobody turns \
             it on.",
        ),
    }
    if let Some(stop) = facts.workload.as_ref().and_then(super::RunbookWorkload::stop) {
        page.command(stop);
        page.item("The cluster does not answer? Then nothing was stopped: cut the power, or take the disk.");
    } else if facts.workload.is_some() {
        page.item("Stop what starts its pods, by hand: the configuration names labels, and not what makes the pods.");
    } else {
        page.item("What starts it there is not in the configuration. Disable it: `systemctl disable --now UNIT`.");
    }
    page.item(
        "None of these is a proof: a pod that was scaled to zero and runs on where no API reaches, a ping without an answer, an empty \
         chart, doppelganger protection.",
    );
}
