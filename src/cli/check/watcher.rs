//! The watcher that runs: whether one answers, and what it says itself. It knows what no look from here can show.

use std::net::IpAddr;

use url::Url;

use crate::{
    adapters::http::PageError,
    cli::status::{ask, client_of},
    config::Config,
    ports::Finding,
    runtime::status::Status,
};

/// Whether a watcher answers, and where.
pub(super) enum RunningWatcher {
    Answers(Url, Box<Status>),
    /// Where it was looked for.
    Nobody(Vec<NotReached>),
}

/// An address at which no watcher has answered us.
pub(super) struct NotReached {
    url: Url,
    why: String,
    /// Something is there that does not let us in, or that we do not trust.
    refuses_us: bool,
}

impl RunningWatcher {
    /// What it says, if it is the one that takes alerts.
    pub(super) fn leader(&self) -> Option<(&Url, &Status)> {
        match self {
            Self::Answers(url, status) if status.holds_lease => Some((url, status)),
            Self::Answers(..) | Self::Nobody(_) => None,
        }
    }
}

/// Asks at `http.address`, and at the port it would listen on here.
pub(super) async fn find(config: &Config) -> RunningWatcher {
    let mut nobody = Vec::new();
    for url in addresses(config) {
        let asked = async { ask(&client_of(config)?, &url).await };
        match asked.await {
            Ok(status) => return RunningWatcher::Answers(url, Box::new(status)),
            Err(error) => nobody.push(NotReached { url, refuses_us: refuses_us(&error), why: why(error) }),
        }
    }
    RunningWatcher::Nobody(nobody)
}

fn refuses_us(error: &anyhow::Error) -> bool {
    // reqwest's and hyper's errors wrap it as an input or output error, which hides it from the chain of causes.
    let is_tls = |cause: &(dyn std::error::Error + 'static)| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        inner.is_some_and(|inner| inner.is::<rustls::Error>())
    };
    match error.downcast_ref::<reqwest::Error>() {
        Some(failed) if failed.is_connect() || failed.is_timeout() => error.chain().any(is_tls),
        Some(_) | None => true,
    }
}

fn why(error: anyhow::Error) -> String {
    match error.downcast::<reqwest::Error>() {
        Ok(error) if error.is_status() => error.without_url().to_string(),
        Ok(error) => PageError::from(error).to_string(),
        Err(error) => format!("{error:#}"),
    }
}

fn addresses(config: &Config) -> Vec<Url> {
    let listen = config.http.listen;
    let host = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    let here = Url::parse(&format!("{scheme}://{}/", std::net::SocketAddr::new(host, listen.port()))).ok();
    let mut all: Vec<Url> = config.http.address.iter().cloned().collect();
    // Port 0 is whichever is free: nobody knows it from outside.
    all.extend(here.filter(|url| listen.port() != 0 && !all.contains(url)));
    all
}

pub(super) fn findings(config: &Config, running: &RunningWatcher) -> Vec<Finding> {
    let subject = "watcher";
    let (url, status) = match running {
        RunningWatcher::Answers(url, status) => (url, status),
        RunningWatcher::Nobody(tried) => {
            let refused = tried.iter().any(|tried| tried.refuses_us);
            let tried: Vec<String> = tried.iter().map(|NotReached { url, why, .. }| format!("{url} ({why})")).collect();
            let detail = match tried.as_slice() {
                [] => "where it answers is not known: `http.listen` names no port and `http.address` is missing".into(),
                [..] if refused => format!("what is there does not answer us: {}", tried.join(", ")),
                [..] => format!("no watcher answers at {}", tried.join(", ")),
            };
            let remedy = if refused {
                "give `http.login` and `http.tls.ca_file` here as they are there, and name in `http.address` what its \
                 certificate is for"
            } else {
                "start it with `failover serve --config …`; where it runs elsewhere, name it in `http.address`"
            };
            return vec![Finding::warning(subject, detail, remedy)];
        }
    };
    let mut findings = vec![match status.holds_lease {
        true => Finding::ok(subject, format!("{url} watches {}, {}, and holds the lease", status.site, status.mode)),
        false => {
            let remedy = "ask the one that holds it, see `failover status`; if there is none, look at its log";
            Finding::warning(subject, format!("{url} answers and does not hold the lease"), remedy)
        }
    }];
    let ours = crate::runtime::status::mode(config.policy.mode);
    if status.site != config.site {
        let detail = format!("{url} watches {}, and this file is about {}", status.site, config.site);
        findings.push(Finding::problem(subject, detail, "correct `http.address`, or use that watcher's configuration"));
    } else if status.mode != ours {
        let detail = format!("it runs in mode {}, and this file says {ours}", status.mode);
        findings.push(Finding::warning(subject, detail, "restart it, so that it reads its configuration"));
    }
    findings.extend(status.unreadable.iter().map(|why| {
        let remedy = "nothing is done by it until then: see `failover ledger verify`";
        Finding::problem("record", why, remedy)
    }));
    findings.extend(status.warnings.iter().map(|why| {
        Finding::warning("it warns", why, "do what it says; `failover status` shows it for as long as it is so")
    }));
    for validator in &status.validators {
        let obstacle = validator.mail_obstacle.as_ref().map(|obstacle| obstacle.remedy.as_str());
        let remedy = obstacle.unwrap_or("see what is said of mail here, and `failover journal` for what was dropped");
        let lines = validator.mail_lines().into_iter().map(|line| format!("{}: {line}", validator.name));
        findings.extend(lines.map(|detail| Finding::warning("mail", detail, remedy)));
    }
    findings
}
