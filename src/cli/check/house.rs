//! The house as a whole: mode, clock, and what is left when all of it is dark; and who is notified.

use url::Url;

use crate::{
    assembly,
    config::{Config, LedgerSettings, SecretFile},
    domain::{Accuracy, Mode, gates::CLOCK},
    ports::Finding,
};

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = vec![mode(config), clock(config).await];
    let whole = "whole-house outage";
    if matches!(config.ledger, LedgerSettings::Sqlite { .. }) {
        let detail = "the ledger is a file in the house, and does not survive it";
        findings.push(Finding::warning(whole, detail, "use `ledger.gcs`"));
    }
    findings.push(match &config.monitor {
        Some(monitor) => ping(&monitor.ping_url_file),
        None => {
            let detail = "no `monitor`: when the house is dark nobody is notified, because this watcher is dark too";
            Finding::warning(whole, detail, "add `monitor.ping_url_file`, with the URL of a dead man's switch outside")
        }
    });
    findings
}

fn mode(config: &Config) -> Finding {
    match config.policy.mode {
        Mode::Armed => Finding::ok("mode", "armed"),
        Mode::Observe => {
            let detail = "observe: on the day it notifies people and creates nothing";
            Finding::warning("mode", detail, "write `mode: armed` once its mails have convinced you")
        }
    }
}

/// Calling it would say that all is well, so it is only read.
fn ping(file: &SecretFile) -> Finding {
    let subject = "monitor";
    let remedy = "put the URL that your monitor gave you into the file `monitor.ping_url_file`";
    match file.read() {
        Ok(secret) if Url::parse(secret.expose()).is_ok_and(|url| url.has_host()) => {
            Finding::ok(subject, "its URL is there; it is called by the watcher only")
        }
        Ok(_) => Finding::problem(subject, format!("{} holds no URL", file.path().display()), remedy),
        Err(error) => Finding::problem(subject, error.to_string(), remedy),
    }
}

/// A wrong clock makes every verdict of the chain wrong or unknown.
async fn clock(config: &Config) -> Finding {
    let name = "this machine's clock";
    let set = "set it (chrony, systemd-timesyncd)";
    match assembly::cloud::clock_offset(config).await {
        Err(why) => Finding::unknown(name, why, "let this machine reach the cloud, whose answers have a date"),
        Ok(offset) => {
            let detail = format!("the cloud's is {offset} ahead of it");
            match offset.accuracy(CLOCK) {
                Accuracy::Right => Finding::ok(name, detail),
                Accuracy::Wrong => Finding::problem(name, detail, set),
                Accuracy::Unclear => {
                    Finding::warning(name, format!("{detail}; the way there is too slow to say more"), set)
                }
            }
        }
    }
}

pub(super) async fn mail(config: &Config) -> Vec<Finding> {
    match assembly::notifier(config) {
        Ok(Some(notifier)) => notifier.check().await,
        Ok(None) => {
            let detail = "no `mail` section: nobody would be notified";
            vec![Finding::problem("mail", detail, "add `mail` with your server and at least one recipient")]
        }
        Err(error) => vec![Finding::problem("mail", format!("{error:#}"), "correct the section `mail`")],
    }
}
