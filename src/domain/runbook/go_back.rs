//! `--go-back`: home is repaired, and is to sign again.

use super::{
    EthereumRunbook, HomeGuard, PROMOTION_TODAY, RunbookFacts, RunbookPage, RunbookSigner, generic,
    page::{KUBE_NAME, word},
    promote::DATA,
};
use crate::domain::{StandbySigner, filled};

pub(super) fn page(facts: &RunbookFacts) -> RunbookPage {
    let id = facts.id();
    let mut page = RunbookPage::new(format!("RUNBOOK --go-back: {id} signs at home again"));
    page.say(PROMOTION_TODAY);
    facts.head(&mut page);
    page.say(
        "IF THE KEYS NEVER LEFT HOME: repair it, undo what keeps it off (replicas, `systemctl enable`), let it start, and do NOT \
         do the steps below. Its standby goes by itself once home was seen at work for \
         a while; one that you kept is yours to delete.",
    );

    page.step(
        "Home stays off until its start is a step here: it has the keys. Repair it without its signer, or its disk.",
    );
    if let Some(stop) = facts.workload.as_ref().and_then(super::RunbookWorkload::stop) {
        page.command(stop);
    }

    let machine = facts.machine();
    let unit = facts.unit();
    page.step("On the machine, stop the signer for good, and take out what it has signed.");
    page.command(format!("gcloud compute ssh {machine} --tunnel-through-iap"));
    page.command(format!("sudo systemctl disable --now {unit}"));
    if let RunbookSigner::Ethereum { standby: Some(EthereumRunbook { client, network, .. }), .. } = &facts.signer {
        let (commands, network) = (client.commands(), word(network, KUBE_NAME, "NETWORK"));
        let program = commands.program.rsplit('/').next().unwrap_or_default();
        let with = [("DIR", DATA), ("NETWORK", &network), ("OUT", "/tmp/cloud"), ("home.json", "/tmp/cloud.json")];
        let export = filled(client.client().export(), &with);
        let arguments = export.strip_prefix(program).unwrap_or(&export);
        page.command(format!("sudo -u validator {}{arguments}", commands.program));
        if matches!(client, StandbySigner::Prysm) {
            page.command("sudo install -m 0644 /tmp/cloud/slashing_protection.json /tmp/cloud.json");
        }
        page.item("From your laptop, and SEE that the file is there before the next step. It has no key in it:");
        let name = facts.machine_name();
        let place = format!("--zone={} --project={}", facts.zone(), facts.project());
        page.command(format!("gcloud compute scp --tunnel-through-iap {name}:/tmp/cloud.json cloud.json {place}"));
    }

    page.step("Stop the machine and SEE that it is TERMINATED. That alone proves that it signs no more.");
    page.command(format!("gcloud compute instances stop {machine}"));
    page.command(format!("gcloud compute instances describe {machine} --format='value(status)'"));
    page.item("Keep it stopped: it has the keys, and its disk is your second copy of what was signed.");

    match &facts.signer {
        RunbookSigner::Ethereum { .. } => {
            page.step("Wait for two whole epochs in which nothing was signed, then make the file for home.");
            page.command(format!("failover lint-interchange cloud.json --validator {id}"));
            page.command(format!("failover watermark {id} --out home-watermark.json --merge=cloud.json"));
            page.item("Was nothing exported, leave out `--merge`: the file is later than all that was signed.");
            page.step(
                "At home, a NEW and empty data folder: import the file once, then the keystores. Home's old folder ends \
                 before the cloud began: set it aside where nothing starts it, for good.",
            );
            page.item(
                "The gate's own folder stays where it is; only the client's folder is new. In a cluster, do it from a pod that mounts \
                 the volume and starts no client, and delete that pod. Before the start, see that the client's data folder is the \
                 new one. The commands of your client are in docs/moving-keys.md and in its own documentation.",
            );
        }
        RunbookSigner::Cometbft { .. } | RunbookSigner::Cardano { .. } | RunbookSigner::Other => {
            page.step(
                "Make what home's signer has to remember, and put it where home's old one was, before it starts.",
            );
            generic::memory_at_home(facts, &mut page);
        }
    }

    match &facts.guard {
        HomeGuard::Gate { .. } | HomeGuard::Grants => {
            page.step(
                "Sign the grant for home: `demote` sees the machine stopped and the chain silent, asks for your signature, and \
                 from then on home's gate starts the signer. Only with the file imported, as above.",
            );
            page.command(format!("failover demote {id} --execute --key=KEY --reason='home signs again'"));
            page.command(format!("failover grants {id}"));
        }
        HomeGuard::None | HomeGuard::SignsNothing => page.step("Start it, as it was started before."),
    }
    if let Some(workload) = &facts.workload
        && workload.stop().is_some()
    {
        page.command(format!("kubectl -n {} scale {} --replicas=1", workload.namespace(), workload.target()));
    }

    page.step(match &facts.signer {
        RunbookSigner::Ethereum { .. } => {
            "See that every key has duties, within three epochs. End the incident, and only then delete the machine."
        }
        RunbookSigner::Cometbft { .. } | RunbookSigner::Cardano { .. } | RunbookSigner::Other => {
            "See on the chain that home signs. End the incident, and only then delete the machine."
        }
    });
    page.command("failover status");
    page.command(format!("failover close {id} --reason='home signs again'"));
    page.command(format!("gcloud compute instances update {machine} --no-deletion-protection"));
    page.command(format!("gcloud compute instances delete {machine} --delete-disks=all"));
    page
}
