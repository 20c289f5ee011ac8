//! What a person does by hand when home is gone, when the keys move, and when they come back: one operator's own names,
//! as text and as Markdown, for the day on which nobody wants to look anything up.
//!
//! Pure: facts in, pages out. It asks nobody and does nothing; what is not known is named as such. What this version
//! cannot do is said in one place, `today`.

mod generic;
mod go_back;
mod lose;
mod page;
mod promote;
#[cfg(test)]
mod tests;
mod today;

use sha2::{Digest as _, Sha256};

use super::{FeeRecipient, InstanceRef, Mode, PublicKey, SignerClient, Span, StandbySigner, Usd, ValidatorId, human};
use page::{GOOGLE_NAME, KUBE_NAME, shown, word};

pub use page::RunbookPage;
pub use today::PROMOTION_TODAY;

/// How many public keys are written in a page; the rest is counted.
const KEYS: usize = 3;
/// How many characters of a key: enough to know it again.
const OF_A_KEY: usize = 20;

/// The three days for which there is a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumIter)]
pub enum RunbookTopic {
    /// Home is gone: up to a cloud that runs.
    Lose,
    /// The keys, by hand, to the standby.
    Promote,
    /// Back to a home that is repaired.
    GoBack,
}

impl RunbookTopic {
    /// As an option of the command.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::Lose => "--lose",
            Self::Promote => "--promote",
            Self::GoBack => "--go-back",
        }
    }
}

/// Everything that is the operator's own.
#[derive(Clone, Debug, PartialEq)]
pub struct RunbookFacts {
    pub site: String,
    pub validator: ValidatorId,
    pub mode: Mode,
    /// Where the ledger is, in words.
    pub ledger: String,
    pub guard: HomeGuard,
    /// What home is in its cluster, if the configuration says it.
    pub workload: Option<RunbookWorkload>,
    pub signer: RunbookSigner,
    pub cloud: Option<RunbookCloud>,
    pub machine: RunbookMachine,
}

/// What keeps home from signing when it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HomeGuard {
    /// Nothing that the configuration names.
    None,
    /// People sign grants; whether a gate reads them is not configured.
    Grants,
    /// It signs nothing, wherever it runs.
    SignsNothing,
    Gate {
        url: String,
    },
}

/// Home in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunbookWorkload {
    pub namespace: String,
    pub name: RunbookWorkloadName,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunbookWorkloadName {
    StatefulSet(String),
    Deployment(String),
    Selector(String),
}

/// What signs, and with what it could sign elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub enum RunbookSigner {
    Ethereum {
        keys: Vec<PublicKey>,
        genesis_root: Option<String>,
        /// The client at home, if somebody has said which; the configuration does not.
        home: Option<SignerClient>,
        standby: Option<EthereumRunbook>,
    },
    Cometbft {
        network: String,
        /// The RPC on the machine itself.
        rpc: String,
    },
    Cardano {
        network: String,
    },
    /// A node of which nothing is known but its probes.
    Other,
}

/// What the standby of an Ethereum validator runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EthereumRunbook {
    pub network: String,
    pub client: StandbySigner,
    /// Address and digest of the validator client.
    pub release: Option<(String, String)>,
    pub fee_recipient: Option<FeeRecipient>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RunbookCloud {
    pub project: String,
    /// Where a standby is tried first: machine type and zone.
    pub first: String,
    pub places: usize,
    pub per_hour: Option<Usd>,
    /// After how long Compute Engine stops it.
    pub limit: Span,
    /// It follows no chain: there is no section `standby`.
    pub rehearsal: bool,
}

/// The machine, as far as anybody could say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunbookMachine {
    Known(InstanceRef),
    /// The ledger has no standby of it at this moment.
    NoneNow,
    /// The ledger did not answer, and why.
    NotRead(String),
    /// This text is kept for a day when there will be one.
    Later,
}

/// All pages of a validator as one text, with the digest by which a change is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailedRunbook {
    pub lines: Vec<String>,
    /// SHA-256 of the text, in hexadecimal digits.
    pub digest: String,
}

impl RunbookFacts {
    #[must_use]
    pub fn page(&self, topic: RunbookTopic) -> RunbookPage {
        match topic {
            RunbookTopic::Lose => lose::page(self),
            RunbookTopic::Promote => promote::page(self),
            RunbookTopic::GoBack => go_back::page(self),
        }
    }

    /// What is mailed. It names no machine: it is kept for a day on which there will be another one.
    #[must_use]
    pub fn mailed(&self) -> MailedRunbook {
        let facts = Self { machine: RunbookMachine::Later, ..self.clone() };
        let pages = <RunbookTopic as strum::IntoEnumIterator>::iter().map(|topic| facts.page(topic).text());
        let text = pages.collect::<Vec<_>>().join("\n\n");
        let digest = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        MailedRunbook { lines: text.lines().map(str::to_owned).collect(), digest }
    }

    /// What every page begins with.
    fn head(&self, page: &mut RunbookPage) {
        page.fact("Site", shown(&self.site));
        page.fact("Validator", shown(self.validator.as_str()));
        if let RunbookSigner::Ethereum { keys, genesis_root, .. } = &self.signer {
            page.fact("Public keys", keys_in_words(keys));
            let root = genesis_root
                .as_ref()
                .map_or_else(|| "not in the configuration (`ethereum.genesis_root`)".to_owned(), |root| shown(root));
            page.fact("Genesis root", root);
        }
        page.fact("Ledger", shown(&self.ledger));
        page.fact(
            "Home",
            self.workload.as_ref().map_or_else(
                || "where it runs is not in the configuration (`validators.kubernetes`)".to_owned(),
                |workload| shown(&workload.to_string()),
            ),
        );
        page.fact(
            "What keeps home from signing",
            match &self.guard {
                HomeGuard::Gate { url } => format!("its gate, {}", shown(url)),
                HomeGuard::SignsNothing => "nothing has to: it signs nothing (`signs: false`)".to_owned(),
                HomeGuard::Grants => "grants are configured; where its gate is, is not (`validators.gate`)".to_owned(),
                HomeGuard::None => {
                    "NOTHING that is configured: there is no gate. It signs whenever it starts".to_owned()
                }
            },
        );
        page.fact(
            "Machine",
            match (&self.machine, &self.cloud) {
                (RunbookMachine::Known(machine), _) => shown(&machine.to_string()),
                (_, None) => "none, and none can be created: there is no section `compute`".to_owned(),
                (RunbookMachine::NoneNow, _) => {
                    "there is none now; MACHINE and ZONE below are to be filled in".to_owned()
                }
                (RunbookMachine::NotRead(why), _) => {
                    format!(
                        "not known, since the ledger was not read ({}); MACHINE and ZONE below are to be filled in",
                        shown(why)
                    )
                }
                (RunbookMachine::Later, _) => {
                    "`failover status` names it; MACHINE and ZONE below are to be filled in".to_owned()
                }
            },
        );
    }

    fn id(&self) -> &str {
        self.validator.as_str()
    }

    /// The machine, with the options that say where it is.
    fn machine(&self) -> String {
        format!("{} --zone={} --project={}", self.machine_name(), self.zone(), self.project())
    }

    /// What says to gcloud, for several commands, where a machine is.
    fn place(&self) -> String {
        format!("CLOUDSDK_CORE_PROJECT={} CLOUDSDK_COMPUTE_ZONE={}", self.project(), self.zone())
    }

    fn machine_name(&self) -> String {
        self.known().map_or_else(|| "MACHINE".to_owned(), |machine| google(&machine.name, "MACHINE"))
    }

    fn zone(&self) -> String {
        self.known().map_or_else(|| "ZONE".to_owned(), |machine| google(&machine.zone, "ZONE"))
    }

    fn project(&self) -> String {
        self.cloud.as_ref().map_or_else(|| "PROJECT".to_owned(), |cloud| google(&cloud.project, "PROJECT"))
    }

    fn known(&self) -> Option<&InstanceRef> {
        match &self.machine {
            RunbookMachine::Known(machine) => Some(machine),
            RunbookMachine::NoneNow | RunbookMachine::NotRead(_) | RunbookMachine::Later => None,
        }
    }

    /// What runs the signer on the machine. Only an Ethereum validator's has a gate there.
    fn unit(&self) -> String {
        match self.signer {
            RunbookSigner::Ethereum { .. } => format!("failover-gate-{}.service", self.validator),
            RunbookSigner::Cometbft { .. } | RunbookSigner::Cardano { .. } | RunbookSigner::Other => {
                "failover-generic.service".to_owned()
            }
        }
    }
}

impl std::fmt::Display for RunbookWorkload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { namespace, name } = self;
        match name {
            RunbookWorkloadName::StatefulSet(name) => write!(f, "statefulset {namespace}/{name}"),
            RunbookWorkloadName::Deployment(name) => write!(f, "deployment {namespace}/{name}"),
            RunbookWorkloadName::Selector(labels) => write!(f, "pods of {namespace} with {labels}"),
        }
    }
}

impl RunbookFacts {
    /// The one command that stops what signs at home.
    #[must_use]
    pub fn stop_home(&self) -> String {
        match (&self.workload, &self.guard) {
            (Some(workload), _) => workload.stop().unwrap_or_else(|| {
                format!("kubectl -n {} get {} --show-labels", workload.namespace(), workload.target())
            }),
            (None, HomeGuard::Gate { .. }) => {
                format!("sudo systemctl disable --now failover-gate-{}.service", self.validator)
            }
            (None, HomeGuard::Grants | HomeGuard::None | HomeGuard::SignsNothing) => {
                "sudo systemctl disable --now UNIT".to_owned()
            }
        }
    }
}

impl RunbookWorkload {
    fn namespace(&self) -> String {
        word(&self.namespace, KUBE_NAME, "NAMESPACE")
    }

    /// As kubectl takes it after `get`.
    fn target(&self) -> String {
        match &self.name {
            RunbookWorkloadName::StatefulSet(name) => format!("statefulset {}", word(name, KUBE_NAME, "NAME")),
            RunbookWorkloadName::Deployment(name) => format!("deployment {}", word(name, KUBE_NAME, "NAME")),
            RunbookWorkloadName::Selector(labels) => format!("pods --selector={}", word(labels, KUBE_NAME, "LABELS")),
        }
    }

    /// What stops it, if its name says what that is.
    fn stop(&self) -> Option<String> {
        match &self.name {
            RunbookWorkloadName::Selector(_) => None,
            RunbookWorkloadName::StatefulSet(_) | RunbookWorkloadName::Deployment(_) => {
                Some(format!("kubectl -n {} scale {} --replicas=0", self.namespace(), self.target()))
            }
        }
    }
}

fn google(name: &str, otherwise: &str) -> String {
    word(name, GOOGLE_NAME, otherwise)
}

fn keys_in_words(keys: &[PublicKey]) -> String {
    let names = keys.iter().take(KEYS).map(|key| format!("`{}...`", &key.to_hex()[..OF_A_KEY]));
    let names = names.collect::<Vec<_>>().join(", ");
    match keys.len() - keys.len().min(KEYS) {
        0 => format!("{}: {names}", keys.len()),
        more => format!("{}: {names} and {more} more, whole in the configuration", keys.len()),
    }
}

fn price(cloud: &RunbookCloud) -> String {
    let price = cloud
        .per_hour
        .map_or_else(|| "its price is not known".to_owned(), |usd| format!("about ${:.2} an hour", usd.0));
    let others = match cloud.places - 1 {
        0 => String::new(),
        1 => ", or one other place".to_owned(),
        more => format!(", or {more} other places"),
    };
    format!("{}{others}; {price}, stopped by the cloud itself after {}", shown(&cloud.first), human(cloud.limit))
}

/// A flag that creates, clears or switches off slashing protection, if there is one in it. No page has any.
#[cfg(test)]
pub(crate) fn forbidden_in(text: &str) -> Option<&'static str> {
    const FORBIDDEN: [&str; 13] = [
        "init-slashing-protection",
        "clear-db",
        "--clear",
        "--purge",
        "--force",
        "--reset",
        "disable-slashing",
        "slashing-protection-local",
        "enabled=false",
        "minimal-slashing-protection",
        "skip-slashing",
        "import-private-key",
        "show-private-keys",
    ];
    let text = text.to_ascii_lowercase();
    FORBIDDEN.into_iter().find(|flag| text.contains(flag))
}
