//! `--promote`: the keys, by hand, from home to the machine that is to sign.

use super::{
    EthereumRunbook, PROMOTION_TODAY, RunbookFacts, RunbookPage, RunbookSigner, generic,
    lose::keep_home_off,
    page::{KUBE_NAME, address, shown, word},
};
use crate::domain::{StandbySigner, filled};

/// Where the validator client's data is on a promoted machine: `validator_folder` of the role `validator`.
pub(super) const DATA: &str = "/var/lib/failover-validator";
const WALLET: &str = "/var/lib/failover-validator/wallet";
/// From which Prysm's unit reads the wallet's password.
const PASSWORD: &str = "/var/lib/failover-validator/wallet-password";
/// Where keystores wait for their import: in memory, so that no disk keeps them.
const KEYS: &str = "/dev/shm/keys";

pub(super) fn page(facts: &RunbookFacts) -> RunbookPage {
    let id = facts.id();
    let mut page = RunbookPage::new(format!("RUNBOOK --promote: move the keys ({id})"));
    page.say(PROMOTION_TODAY);
    facts.head(&mut page);
    if let RunbookSigner::Ethereum { standby: Some(standby), .. } = &facts.signer {
        of_the_standby(standby, &mut page);
    }

    page.step(
        "See what is proved and what is not; then `--execute` takes the machine, stops home, waits and asks for your \
         signature.",
    );
    page.command(format!("failover promote {id}"));
    page.command(format!("failover promote {id} --execute --key=KEY --reason='I move the keys'"));
    keep_home_off(facts, true, &mut page);
    match &facts.signer {
        RunbookSigner::Ethereum { standby, .. } => ethereum(facts, standby.as_ref(), &mut page),
        RunbookSigner::Cometbft { .. } | RunbookSigner::Cardano { .. } | RunbookSigner::Other => {
            generic::move_keys(facts, &mut page);
        }
    }
    page.step("From now on home must not start: it still has the keys. Before it does, even to look at it:");
    page.command(format!("failover runbook {id} --go-back"));
    page
}

fn of_the_standby(standby: &EthereumRunbook, page: &mut RunbookPage) {
    page.fact("Network", shown(&standby.network));
    let name = standby.client.client().to_string().to_lowercase();
    page.fact(
        "Fees go to",
        standby.fee_recipient.map_or_else(
            || "NOT in the configuration: set `standby.ethereum.fee_recipient` before you promote".to_owned(),
            |recipient| shown(&recipient.to_string()),
        ),
    );
    page.fact(
        "Validator client",
        match (&standby.release, standby.client) {
            (Some((url, sha256)), _) => format!("{}, SHA-256 {}", address(url), shown(sha256)),
            (None, StandbySigner::Lighthouse) => {
                "the program of its beacon node (`standby.ethereum.lighthouse`)".to_owned()
            }
            (None, StandbySigner::Prysm) => {
                format!("{name}; which release is NOT in the configuration (`standby.ethereum.{name}.validator`)")
            }
        },
    );
}

fn ethereum(facts: &RunbookFacts, standby: Option<&EthereumRunbook>, page: &mut RunbookPage) {
    let id = facts.id();
    page.step(format!(
        "AFTER home has stopped, make the one file that is imported; with home's export (`runbook {id} --lose` has the commands) \
         add `--merge=home.json`.",
    ));
    page.command(format!("failover watermark {id} --out watermark.json"));
    page.item(
        "No beacon node answers? keys.txt has every public key, one a line; EPOCH is the present one by a block explorer, plus \
         one; ROOT is the genesis root above; Gnosis has 16 slots:",
    );
    page.command(
        "failover watermark --genesis-root ROOT --public-keys-file keys.txt --epoch EPOCH --slots-per-epoch 32 \
         --out watermark.json",
    );

    let Some(EthereumRunbook { client, network, fee_recipient, .. }) = standby else {
        page.step(
            "What the standby runs is not known: there is no `standby.ethereum` in the configuration. The commands for \
             Lighthouse and Prysm are in docs/moving-keys.md.",
        );
        return;
    };
    let (commands, network) = (client.commands(), word(network, KUBE_NAME, "NETWORK"));
    let unit = facts.unit();
    let name = facts.machine_name();
    page.step("Take file and keystores there, over Google's tunnel (IAP); KEYS is your folder of keystores.");
    page.command(format!("export {}", facts.place()));
    page.command(format!("gcloud compute scp --tunnel-through-iap --recurse KEYS {name}:{KEYS}"));
    page.command(format!("gcloud compute scp --tunnel-through-iap watermark.json {name}:/dev/shm/"));
    page.command(format!("gcloud compute ssh --tunnel-through-iap {name}"));

    page.step(
        "There, with the client stopped (it says `inactive`): slashing protection first. ONCE (interrupted: the same file \
         again), and into an empty folder.",
    );
    let program = commands.program.rsplit('/').next().unwrap_or_default();
    let typed = |command: &str| {
        let with = [
            ("DIR", DATA),
            ("NETWORK", &network),
            ("KEYS", KEYS),
            ("WALLET", WALLET),
            ("watermark.json", "/dev/shm/watermark.json"),
        ];
        let command = filled(command, &with);
        let arguments = command.strip_prefix(program).unwrap_or(&command);
        format!("sudo -u validator {}{arguments}", commands.program)
    };
    page.command(format!("sudo systemctl is-active {unit}"));
    page.command(format!("sudo chown -R validator {KEYS} /dev/shm/watermark.json"));
    page.command(typed(commands.import_protection));
    page.item(format!("It is done when {}.", commands.imported));
    page.item(
        "NOT SEEN? Do not go on; import the same file again. The next step hides the mistake: with keystores and without the \
         file the client makes an empty memory, and signs anything.",
    );
    page.step("Keystores second; it asks for their passwords. Then nothing of them is left lying around.");
    match client {
        StandbySigner::Prysm => {
            page.item("The wallet gets a new password, 8 characters or more: type it (it is shown), Enter, Ctrl-D.");
            page.command(format!("sudo -u validator sh -c 'umask 077; cat > {PASSWORD}'"));
            page.command(format!("{} --wallet-password-file={PASSWORD}", typed(commands.import_keystores)));
        }
        StandbySigner::Lighthouse => page.command(typed(commands.import_keystores)),
    }
    page.command(format!("sudo rm -r {KEYS} /dev/shm/watermark.json"));

    page.step("Look at how it will be started, then start it. It has to have these options:");
    page.command(format!("systemctl cat {unit}"));
    let recipient = fee_recipient.map_or_else(|| "0xYOURS".to_owned(), |address| address.to_string());
    page.item(format!("`{}`", commands.fee_recipient.replace("0x…", &recipient)));
    page.item(
        [commands.doppelganger, commands.metrics_flag]
            .map(|flag| format!("`{flag}` "))
            .concat()
            .replace("`` ", "")
            .trim(),
    );
    page.command(format!("sudo systemctl enable --now {unit}"));
    page.item(
        "The gate waits for a grant for this machine and boot: `failover-gate status`. Once the client runs it signs nothing for \
         two to three epochs: it listens for a second signer, and is below its mark.",
    );

    page.step(format!("Look at its log: {}.", commands.log_means));
    page.command(format!("sudo journalctl -u {unit} | grep -E '{}'", commands.log));

    page.step(format!(
        "See that EVERY key has duties, within three epochs. The client: {}. The chain: `failover status`, or a block \
         explorer.",
        commands.metrics_mean
    ));
    page.command(format!(
        "curl -s http://127.0.0.1:{}/metrics | grep -E '{}'",
        commands.metrics_port, commands.metrics
    ));
}
