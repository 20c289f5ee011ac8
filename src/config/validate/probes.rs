//! The probes of a validator of kind generic: each one question, with an answer that can be judged.
//!
//! Nothing is asked here.

use super::{Checker, HttpLogin, HttpQuestion, ProbeSettings, Question, Unique};
use crate::{
    config::{
        Place,
        values::At,
        written::{HttpProbe, Json, Method, Probe, TcpProbe},
    },
    domain::probe::{Rule, Wanted, WantedValue},
};

impl Checker<'_> {
    pub(super) fn probes(&mut self, written: Option<&At<Vec<Probe>>>, kind: Place) -> Vec<ProbeSettings> {
        let Some(probes) = written else {
            self.wrong(kind, "a validator of kind generic is seen by its probes: add probes");
            return Vec::new();
        };
        if probes.is_empty() {
            self.wrong(probes.place, "probes is empty: name at least one");
        }
        let mut names = Unique::default();
        let mut settings = Vec::new();
        for probe in &probes.value {
            names.take(self, &probe.name.value, probe.name.place, "probe");
            settings.extend(self.probe(probe));
        }
        settings
    }

    fn probe(&mut self, written: &Probe) -> Option<ProbeSettings> {
        let name = self.label(&written.name, "the name of a probe");
        let place = written.name.place;
        let json = written.http.as_ref().and_then(|http| http.json.as_ref());
        let wanted = json.and_then(|json| self.wanted(json, written));
        if let (None, Some(stalled_after)) = (json, &written.stalled_after) {
            self.wrong(stalled_after.place, "stalled_after goes with 'json: {…, compare: advances}': remove it");
        }
        let question = match (&written.http, &written.tcp) {
            (Some(http), None) => self.http_question(http),
            (None, Some(tcp)) => Some(self.tcp_question(tcp)),
            (Some(_), Some(tcp)) => {
                self.wrong(tcp.address.place, "this probe has http and tcp: make it two probes");
                None
            }
            (None, None) => {
                self.wrong(place, "this probe asks nothing: add http or tcp");
                None
            }
        };
        let (every, timeout) = (written.every.span(), written.timeout.span());
        let rule = Rule {
            name,
            wanted,
            fails_for: written.fails_for.value.0,
            // One lost answer is nothing; two in a row are.
            believed_for: every * 5 / 2 + timeout,
        };
        Some(ProbeSettings { question: question?, every, timeout, rule })
    }

    fn wanted(&mut self, json: &Json, probe: &Probe) -> Option<Wanted> {
        let pointer = &json.pointer;
        if !pointer.is_empty() && !pointer.starts_with('/') {
            let message =
                format!("'{0}' is not a JSON pointer (RFC 6901): it begins with a slash, '/{0}'", pointer.value);
            self.wrong(pointer.place, message);
        }
        let value = if json.compare.trim() == "advances" {
            self.advances(json, probe)
        } else {
            if let Some(stalled_after) = &probe.stalled_after {
                self.wrong(stalled_after.place, "stalled_after goes with 'compare: advances': remove one of them");
            }
            let comparison = json.compare.parse();
            comparison
                .map_err(|error: crate::domain::probe::ComparisonError| {
                    self.wrong(json.compare.place, error.to_string())
                })
                .ok()
                .map(WantedValue::Compares)
        };
        Some(Wanted { pointer: pointer.value.clone(), value: value? })
    }

    /// How long a height may stand still differs from chain to chain, so there is no default that is right.
    fn advances(&mut self, json: &Json, probe: &Probe) -> Option<WantedValue> {
        let Some(stalled_after) = &probe.stalled_after else {
            self.wrong(
                json.compare.place,
                "a height that advances needs stalled_after: several times the longest usual pause between two blocks, \
                 like 90m for Bitcoin",
            );
            return None;
        };
        if stalled_after.span() < probe.every.span() * 2 {
            self.wrong(
                stalled_after.place,
                "stalled_after is shorter than twice every: a pause could not be seen in it",
            );
        }
        Some(WantedValue::Advances { stalled_after: stalled_after.span() })
    }

    fn http_question(&mut self, written: &HttpProbe) -> Option<Question> {
        let url = self.url(&written.url, "the url of a probe");
        let method = written.method.map(|method| (method.value, method.place));
        if let (Some((Method::Get, place)), Some(_)) = (method, &written.body) {
            self.wrong(place, "a body is sent with POST: write 'method: POST', or remove one of them");
        }
        if let Some(body) = &written.body
            && serde_json::from_str::<serde_json::Value>(body).is_err()
        {
            self.wrong(
                body.place,
                "body is not JSON: write it in single quotes, like '{\"method\": \"getblockcount\"}'",
            );
        }
        let login = match (&written.bearer_file, &written.basic) {
            (None, None) => None,
            (Some(file), None) => Some(HttpLogin::Bearer(self.secret(&file.value, file.place))),
            (None, Some(basic)) => Some(HttpLogin::Basic(self.login(basic, basic.place, "basic"))),
            (Some(_), Some(basic)) => {
                self.wrong(basic.place, "there are bearer_file and basic: keep one of them");
                None
            }
        };
        let ca_file = written.ca_file.as_ref().map(|file| {
            if url.as_ref().is_some_and(|url| url.scheme() != "https") {
                self.wrong(file.place, "ca_file is of no use with http: write https in url, or remove it");
            }
            self.ca_file(file, "ca_file")
        });
        let post = method.map_or(written.body.is_some(), |(method, _)| method == Method::Post);
        let body = written.body.as_ref().map(|body| body.value.clone());
        Some(Question::Http(Box::new(HttpQuestion { url: url?, post, body, login, ca_file })))
    }

    fn tcp_question(&mut self, written: &TcpProbe) -> Question {
        let address = &written.address;
        let (host, port) = address.rsplit_once(':').unwrap_or_default();
        let port_fits = port.parse::<u16>().is_ok_and(|port| port > 0);
        let host_fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)),
        };
        if !port_fits || !host_fits {
            let message =
                format!("'{}' is not a host and a port: write node.btc.svc:8333 or [::1]:8333", address.value);
            self.wrong(address.place, message);
        }
        Question::Tcp { address: address.value.clone() }
    }
}
