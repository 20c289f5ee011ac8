use clap::Parser as _;

use super::*;
use crate::gate::options::{GateCli, GateCommand};

const ROOT: &str = "0x5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";
const SIGNER: &str = "me@example.org namespaces=\"failover-grant\" ssh-ed25519 \
                      AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// A folder with all files that are named.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("signers", SIGNER);
        put("keys", &format!("# ours\n0x{} # the first\n\n0x{}\n", "8f".repeat(48), "8e".repeat(48)));
        drop(LedgerSqlite::open(&folder.path().join("ledger")).unwrap());
        Self(folder)
    }

    /// `@NAME` is a file in this folder.
    fn build(&self, change: &str, command: &str) -> Result<Parts, String> {
        let usual = format!(
            "--validator=eth-0 --place=home --chain={ROOT} --ledger=sqlite:@ledger --allowed-signers=@signers \
             --state=@state --beacon-node=http://beacon:5052 --public-keys-file=@keys"
        );
        let mut arguments: Vec<String> = usual.split_whitespace().map(str::to_owned).collect();
        for change in change.split_whitespace() {
            let (name, value) = change.split_once('=').unwrap_or((change, ""));
            arguments.retain(|argument| !argument.starts_with(&format!("{name}=")));
            if value != "-" {
                arguments.push(change.to_owned());
            }
        }
        let at = format!("{}/", self.0.path().display());
        let arguments = arguments.iter().map(|argument| argument.replace('@', &at));
        let all = ["failover-gate".to_owned(), "run".to_owned()].into_iter().chain(arguments);
        let cli = GateCli::try_parse_from(all.chain(["--".to_owned()]).chain(command.split(' ').map(str::to_owned)));
        match cli.map_err(|error| error.to_string())?.command {
            GateCommand::Run(options) => build(*options),
            other => panic!("{other:?}"),
        }
    }

    fn refused(&self, change: &str) -> String {
        self.build(change, "true").err().expect(change)
    }
}

#[test]
fn what_is_written_becomes_the_parts_of_a_gate() {
    let files = Files::new();
    let parts = files.build("", "lighthouse vc --ledger=mine").unwrap();
    assert_eq!((parts.validator.as_str(), parts.chain.as_str()), ("eth-0", ROOT));
    assert_eq!(parts.command, ["lighthouse", "vc", "--ledger=mine"], "its own options are not read");
    assert!(parts.duties.is_some() && !parts.allow_untouched);
    assert_eq!((parts.signers)().unwrap().signers().len(), 1);
    std::fs::write(files.0.path().join("signers"), "").unwrap();
    assert!((parts.signers)().is_err(), "read again: a key that was taken out allows nothing");
    let files = Files::new();
    assert_eq!((parts.stop_grace, parts.listen.port()), (Duration::from_secs(60), 8553));
    let PlaceParts::Home { site, ttl, on_loss, .. } = parts.place else { panic!("it is at home") };
    assert_eq!((site.as_str(), ttl, on_loss), ("home", Duration::from_secs(6 * 3600), OnLedgerLoss::Stop));

    let cloud =
        files.build("--place=cloud --ledger=- --grant=@grant --duty-check=off --beacon-node=-", "true").unwrap();
    assert!(cloud.duties.is_none());
    assert!(matches!(cloud.place, PlaceParts::Cloud { grant: Some(_), .. }));

    let google = "--ledger=gs://my-ledger --credentials=anonymous --ledger-endpoint=http://127.0.0.1:1";
    let PlaceParts::Home { ledger, .. } = files.build(google, "true").unwrap().place else { panic!("it is at home") };
    assert_eq!(ledger.place(), "gs://my-ledger/ at http://127.0.0.1:1/");
}

#[test]
fn what_does_not_fit_together_is_refused_with_the_remedy() {
    let files = Files::new();
    for (change, says) in [
        ("--ledger=-", "--place home needs --ledger"),
        ("--ledger=sqlite:@typo", "name the watcher's"),
        ("--ledger=gs://my-ledger", "needs --credentials"),
        ("--ledger=gs://my-ledger --credentials=anonymous", "goes with --ledger-endpoint"),
        ("--ledger=gs://my-ledger --credentials=@typo", "correct --credentials"),
        ("--ledger=redis://x", "neither gs://BUCKET"),
        ("--grant=@grant", "leave it out"),
        ("--gate-ttl=64s", "--gate-ttl 1m 4s is too short: it has to be at least 5s longer than --stop-grace 1m"),
        ("--gate-ttl=5m --stop-grace=5m", "longer than --stop-grace 5m"),
        ("--gate-ttl=6", "a duration is written like"),
        ("--allowed-signers=@typo", "name the file of who may sign"),
        ("--allowed-signers=@keys", "names no key that may sign"),
        ("--chain=cosmoshub-4", "genesis validators root"),
        ("--beacon-node=-", "--duty-check off, with its risk"),
        ("--beacon-node=ftp://x", "not an http or https URL"),
        ("--public-keys-file=-", "name --public-keys-file"),
        ("--public-keys-file=@signers", "does not begin with 0x"),
        ("--validator=Eth_0", "a validator's name has"),
        ("--place=moon", "possible values: home, cloud"),
        ("--on-ledger-loss=wait", "possible values: stop, run"),
    ] {
        let error = files.refused(change);
        assert!(error.contains(says), "{change}: {error}");
    }
    let ledger = files.0.path().join("typo");
    assert!(!ledger.exists(), "a ledger that is missing is not made");
}
