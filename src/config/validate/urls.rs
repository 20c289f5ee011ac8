//! Addresses: their form, no login in any of them, and in those that travel to a standby nothing that looks secret.
//!
//! Nothing is asked here, and what looks secret is never repeated: a message may end in a log.

use url::Url;

use super::{Checker, Problem, Warning};
use crate::{
    config::{Place, values::At},
    domain::one_line,
};

/// Words in the name of a parameter whose value is one's own: keys of an API, and signatures as of a signed download.
const OWN: [&str; 9] = ["token", "key", "secret", "auth", "pass", "pwd", "sig", "credential", "jwt"];
/// From this length on, letters and digits in one row are rather a token than a word or a version: the shortest keys of
/// providers' APIs in use have 20, and a row in the name of a release (`x86`, `20261121`) is shorter.
const TOKEN: usize = 16;

impl Checker<'_> {
    pub(super) fn url(&mut self, text: &At<String>, key: &str) -> Option<Url> {
        match Url::parse(text) {
            Ok(url) if has_login(&url) => {
                let message = format!("{key} has a user name or password in it: secrets belong in files");
                self.wrong_unquoted(text.place, message);
                None
            }
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
            Ok(_) | Err(_) => {
                self.wrong(text.place, format!("{key} has to be a URL like http://host:port"));
                None
            }
        }
    }

    pub(super) fn optional_url(&mut self, text: Option<&At<String>>, key: &str) -> Option<Url> {
        text.and_then(|text| self.url(text, key))
    }

    /// An address that is written into the machine's metadata. There is no file that a secret could be in instead.
    pub(super) fn url_for_all(&mut self, text: &At<String>, key: &str) -> Option<Url> {
        if Url::parse(text).is_ok_and(|url| has_login(&url)) {
            let message = format!(
                "{key} has a user name or password in it, and anyone who can view the machine in the cloud can read it: \
                 use an address that needs no login"
            );
            self.wrong_unquoted(text.place, message);
            return None;
        }
        let url = self.url(text, key)?;
        self.seems_open(text.place, &url, key);
        Some(url)
    }

    /// An option of a client may hold an address as well, like `--http.url=https://…`.
    pub(super) fn option_for_all(&mut self, option: &At<String>) {
        let from = option.find("://").map(|colon| option[..colon].rfind(|c: char| !is_scheme(c)).map_or(0, |i| i + 1));
        let Some(url) = from.and_then(|from| Url::parse(&option[from..]).ok()) else { return };
        // The user name of a node's address (`enode://…@host`) is its public key.
        let web = matches!(url.scheme(), "http" | "https" | "ws" | "wss");
        if url.password().is_some() || web && has_login(&url) {
            let message = "this option has a user name or password in it, and anyone who can view the machine in the \
                           cloud can read it: use an address that needs no login";
            self.wrong_unquoted(option.place, message.into());
        } else if web {
            self.seems_open(option.place, &url, "the address in this option");
        }
    }

    /// Whether something is a secret cannot be known from its form, so this is a warning.
    pub(super) fn seems_open(&mut self, place: Place, url: &Url, key: &str) {
        let Some(what) = seems_secret(url) else { return };
        let message = format!(
            "{key}: {what} looks like a secret, and anyone who can view the machine in the cloud can read it: use an \
             address that needs none, or one that you can revoke"
        );
        self.warnings.push(Warning(self.unquoted(place, message)));
    }

    pub(super) fn wrong_unquoted(&mut self, place: Place, message: String) {
        let problem = self.unquoted(place, message);
        self.problems.push(problem);
    }

    /// Without the line that it is about: a secret is in it.
    fn unquoted(&self, place: Place, message: String) -> Problem {
        Problem { line: None, ..Problem::new(self.origin, self.text, place, message) }
    }
}

fn has_login(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn is_scheme(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// What of an address looks like a secret, named without it.
fn seems_secret(url: &Url) -> Option<String> {
    let parameters = url.query_pairs().find(|(name, value)| {
        let name = name.to_ascii_lowercase();
        !value.is_empty() && OWN.iter().any(|own| name.contains(own)) || is_like_a_token(value)
    });
    if let Some((name, _)) = parameters {
        return Some(format!("'{}' in its query", one_line(&name, 40)));
    }
    let parts: Vec<&str> = url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let number = parts.iter().enumerate().position(|(index, part)| {
        if index + 1 == parts.len() {
            // The name of a file has an ending; versions and digests are usual in it.
            !part.contains('.') && is_like_a_token(part)
        } else {
            // A commit's or a file's hash before it is what many honest addresses of downloads have.
            !is_hash(part) && is_like_a_token(part)
        }
    });
    Some(format!("part {} of its path", number? + 1))
}

fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// A long row of letters and digits mixed, or a UUID.
fn is_like_a_token(text: &str) -> bool {
    let mixed = |row: &str| {
        row.len() >= TOKEN && row.contains(|c: char| c.is_ascii_digit()) && row.contains(|c: char| c.is_alphabetic())
    };
    let is_uuid = text.len() == 36 && uuid::Uuid::try_parse(text).is_ok();
    is_uuid || text.split(|c: char| !c.is_ascii_alphanumeric()).any(mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(url: &str) -> Option<String> {
        seems_secret(&Url::parse(url).unwrap())
    }

    #[test]
    fn addresses_as_projects_publish_them_hold_no_secret() {
        for url in [
            "https://gethstore.blob.core.windows.net/builds/geth-linux-amd64-1.16.7-b9f3a3d9.tar.gz",
            "https://github.com/sigp/lighthouse/releases/download/v8.0.1/lighthouse-v8.0.1-x86_64-unknown-linux-gnu.tar.gz",
            "https://github.com/o/r/archive/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b/r.tar.gz",
            "https://mirror.example.org/failover-x86_64-unknown-linux-musl",
            "https://beaconstate.ethstaker.cc/",
            "https://mainnet-checkpoint-sync.attestant.io",
            "https://example.org/download?file=node.tar.gz&version=1.2.3",
            "http://127.0.0.1:26657/status",
        ] {
            assert_eq!(said(url), None, "{url}");
        }
    }

    #[test]
    fn keys_of_providers_and_signed_downloads_are_seen_and_never_repeated() {
        for (url, what) in [
            ("https://h.example/v1/mainnet?apikey=abc", "'apikey' in its query"),
            ("https://h.example/f.tar.gz?X-Goog-Signature=0aBc&x=1", "'X-Goog-Signature' in its query"),
            ("https://h.example/f.tar.gz?x=1&id=Zk3vQ9xLw2Tn8Rb5", "'id' in its query"),
            ("https://eth.example/v2/Zk3vQ9xLw2Tn8Rb5yHd7Jc4M/eth", "part 2 of its path"),
            ("https://u.example/1f0c8a2e4b6d7a9c3e5f1b2d4a6c8e0f/", "part 1 of its path"),
            ("https://q.example/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b/", "part 1 of its path"),
            ("https://u.example/123e4567-e89b-42d3-a456-426614174000", "part 1 of its path"),
        ] {
            assert_eq!(said(url).as_deref(), Some(what), "{url}");
        }
    }
}
