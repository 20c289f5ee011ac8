//! Programs by their command lines: which of them sign, and which only look alike.
//!
//! `lighthouse bn` and `lighthouse vc` are one file on disk, so the name alone says nothing; the subcommand or the
//! options do. Values of options are never looked at.

use super::RunningProcess;

/// A program and what it was told.
struct Program<'a> {
    /// The base name of its file, in lower case.
    name: String,
    arguments: &'a [&'a str],
}

/// How a program shows that it signs.
enum Shows {
    Runs,
    /// By one of these subcommands; the others are the harmless ones.
    Subcommand {
        signs: &'static [&'static str],
        harmless: &'static [&'static str],
    },
    Option(&'static [&'static str]),
}

/// Programs that can hold keys: name, what people call it, and how it shows. The first that matches and shows wins.
const PROGRAMS: [(&str, &str, Shows); 25] = [
    (
        "lighthouse",
        "lighthouse vc",
        Shows::Subcommand {
            signs: &["vc", "v", "validator", "validator_client", "validator-client"],
            harmless: &["bn", "b", "beacon", "beacon_node", "beacon-node", "boot_node", "database_manager", "db"],
        },
    ),
    (
        "lighthouse",
        "lighthouse, managing keys",
        Shows::Subcommand {
            signs: &["am", "a", "account", "account_manager", "vm", "validator-manager", "validator_manager"],
            harmless: &["bn", "b", "beacon", "beacon_node", "beacon-node", "boot_node", "database_manager", "db"],
        },
    ),
    // Prysm's validator client is called just that; its other program is called beacon-chain.
    ("validator", "prysm validator", Shows::Runs),
    (
        "prysm.sh",
        "prysm validator",
        Shows::Subcommand { signs: &["validator"], harmless: &["beacon-chain", "slasher"] },
    ),
    (
        "prysmctl",
        "prysmctl validator",
        Shows::Subcommand { signs: &["validator"], harmless: &["testnet", "p2p", "db"] },
    ),
    ("teku", "teku validator-client", Shows::Subcommand { signs: &["validator-client", "vc"], harmless: &[] }),
    // In one process with its beacon node, as teku, nimbus and grandine do it when they are given keys.
    (
        "teku",
        "teku with keys",
        Shows::Option(&[
            "--validator-keys",
            "--validators-external-signer-url",
            "--validators-external-signer-public-keys",
        ]),
    ),
    ("nimbus_validator_client", "nimbus_validator_client", Shows::Runs),
    ("nimbus_signing_node", "nimbus_signing_node", Shows::Runs),
    (
        "nimbus_beacon_node",
        "nimbus_beacon_node with keys",
        Shows::Option(&["--validators-dir", "--secrets-dir", "--web3-signer-url", "--verifying-web3-signer-url"]),
    ),
    (
        "lodestar",
        "lodestar validator",
        Shows::Subcommand { signs: &["validator"], harmless: &["beacon", "lightclient"] },
    ),
    (
        "grandine",
        "grandine with keys",
        Shows::Option(&[
            "--keystore-dir",
            "--keystore-password-dir",
            "--keystore-password-file",
            "--web3signer-api-urls",
        ]),
    ),
    ("vouch", "vouch", Shows::Runs),
    ("vero", "vero", Shows::Runs),
    ("dirk", "dirk", Shows::Runs),
    ("web3signer", "web3signer", Shows::Runs),
    ("charon", "charon", Shows::Runs),
    ("ssvnode", "ssvnode", Shows::Runs),
    ("tmkms", "tmkms", Shows::Runs),
    ("horcrux", "horcrux", Shows::Runs),
    ("clef", "clef", Shows::Runs),
    // It signs no attestation, but it runs where the keys of those who attest are.
    ("commit-boost-signer", "commit-boost-signer", Shows::Runs),
    // Holds the keys with which a block producer of Cardano signs.
    ("kes-agent", "kes-agent", Shows::Runs),
    // A block producer of Cardano is a relay that was given these; a relay has none of them.
    (
        "cardano-node",
        "cardano-node with credentials",
        Shows::Option(&[
            "--shelley-kes-key",
            "--shelley-kes-agent-socket",
            "--shelley-vrf-key",
            "--shelley-operational-certificate",
            "--byron-signing-key",
            "--byron-delegation-certificate",
            // The same two under their older names.
            "--signing-key",
            "--delegation-certificate",
            "--bulk-credentials-file",
        ]),
    ),
    // A node of CometBFT waits here for a signer elsewhere. Its own key is a file, which is not looked at.
    (ANY_COMET, "a CometBFT node with a remote signer", Shows::Option(&["--priv_validator_laddr"])),
];

/// The gate of this project, its keeper, and what the command is until both hold it.
const GATE: &str = "failover-gate";

/// Every chain calls its node by another name, so it is known by its option alone.
const ANY_COMET: &str = "";

/// Run another program, which their arguments name.
const RUNNERS: [&str; 10] = ["sh", "bash", "dash", "ash", "busybox", "node", "bun", "dotnet", "box64", "python"];

/// The kernel's name of a process has at most so many characters.
const KERNEL_NAME: usize = 15;

/// What people call what this process runs, if it signs.
pub(super) fn signs(process: &RunningProcess) -> Option<&'static str> {
    let words: Vec<&str> = process.arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        // A command line can be emptied by the process itself; the kernel's name stays.
        [] => signs_by_kernel_name(&process.name),
        // A process may write a title over it, as one text: "lighthouse vc --network mainnet".
        [title] => of(title, &[]).or_else(|| {
            let words: Vec<&str> = title.split_whitespace().collect();
            words.split_first().and_then(|(file, arguments)| of(file, arguments))
        }),
        [file, arguments @ ..] => of(file, arguments),
    }
}

fn of(file: &str, arguments: &[&str]) -> Option<&'static str> {
    let name = base_name(file);
    // Its arguments are those of a command that it may start; then that is a process of its own.
    if is_called(&name, GATE) {
        return None;
    }
    if name == "java" {
        return of_java(arguments);
    }
    let runs_another = RUNNERS.iter().any(|runner| is_called(&name, runner))
        || ["python", "ld-linux", "ld-musl"].iter().any(|start| name.starts_with(start));
    if runs_another { of_runner(arguments) } else { Program { name, arguments }.signs() }
}

/// The program is the first argument that is no option, or the second one if the first looks like an option's value.
fn of_runner(arguments: &[&str]) -> Option<&'static str> {
    let places = arguments.iter().enumerate().filter(|(_, argument)| !argument.starts_with('-'));
    for (at, argument) in places.take(2) {
        let program = Program { name: base_name(argument), arguments: &arguments[at + 1..] };
        if let Some(words) = program.signs() {
            return Some(words);
        }
        if argument.contains(['/', '.']) {
            return None;
        }
    }
    None
}

/// Java programs are named by their main class.
fn of_java(arguments: &[&str]) -> Option<&'static str> {
    let class = |argument: &str| match argument.rsplit('.').next().unwrap_or_default() {
        "Teku" => Some("teku"),
        "Web3SignerApp" => Some("web3signer"),
        _ => None,
    };
    let (at, name) = arguments.iter().enumerate().find_map(|(at, argument)| Some((at, class(argument)?)))?;
    Program { name: name.to_owned(), arguments: &arguments[at + 1..] }.signs()
}

fn signs_by_kernel_name(kernel_name: &str) -> Option<&'static str> {
    let runs = PROGRAMS.iter().filter(|(_, _, shows)| matches!(shows, Shows::Runs));
    let cut = |program: &str| kernel_name.len() == KERNEL_NAME && program.starts_with(kernel_name);
    let mut found = runs.filter(|(program, _, _)| is_called(kernel_name, program) || cut(program));
    found.next().map(|(_, words, _)| *words)
}

impl Program<'_> {
    fn signs(&self) -> Option<&'static str> {
        let called = |program: &str| program == ANY_COMET || is_called(&self.name, program);
        let found = PROGRAMS.iter().find(|(program, _, shows)| called(program) && self.shows(shows));
        found.map(|(_, words, _)| *words)
    }

    fn shows(&self, how: &Shows) -> bool {
        match how {
            Shows::Runs => true,
            Shows::Subcommand { signs, harmless } => self.has_subcommand(signs, harmless),
            Shows::Option(options) => self.arguments.iter().any(|argument| {
                let option = argument.split('=').next().unwrap_or(argument);
                options.contains(&option)
            }),
        }
    }

    /// The first subcommand decides. A word right after an option may be that option's value: as a signer's subcommand
    /// it counts all the same, as a harmless one it settles nothing, so that `--datadir bn vc` is not missed.
    fn has_subcommand(&self, signs: &[&str], harmless: &[&str]) -> bool {
        let mut after_option = false;
        for argument in self.arguments {
            if argument.starts_with('-') {
                after_option = !argument.contains('=');
                continue;
            }
            if signs.contains(argument) {
                return true;
            }
            if harmless.contains(argument) && !after_option {
                return false;
            }
            after_option = false;
        }
        false
    }
}

fn base_name(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    name.trim_end_matches(".js").trim_end_matches(".py").to_owned()
}

/// `validator`, `validator-v5.3.1-linux-amd64` and `validator_linux_amd64` are one program; `validator-exporter` is not.
fn is_called(name: &str, program: &str) -> bool {
    let Some(rest) = name.strip_prefix(program) else { return false };
    let Some(suffix) = rest.strip_prefix(['-', '_']) else { return rest.is_empty() };
    let suffix = suffix.strip_prefix('v').unwrap_or(suffix);
    suffix.starts_with(|c: char| c.is_ascii_digit()) || suffix.starts_with("linux") || suffix.starts_with("latest")
}
