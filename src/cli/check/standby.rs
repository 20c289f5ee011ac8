//! What a standby would fetch: whether it is there, and whether its digest can be right.

use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, future::join_all, stream};
use url::Url;

use super::progress::{AtWork, ProgressLine};
use crate::{
    adapters::{
        beacon,
        http::{client, public_client},
        release::{ReleaseError, Releases},
    },
    config::{Config, ConsensusSettings, DownloadSettings, StandbySettings, ValidatorKind},
    ports::Finding,
};

/// The SHA-256 of a file without a byte.
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// For one answer of a node at home.
const HOME: Duration = Duration::from_secs(5);
/// Downloads at a time: more make none of them faster.
const AT_A_TIME: usize = 2;

pub(super) async fn check(config: &Config, deep: bool, progress: &ProgressLine) -> Vec<Finding> {
    let Some(standby) = &config.standby else {
        if config.compute.is_none() {
            return Vec::new();
        }
        let detail = "no `standby` section: the machine would follow no chain, good for a rehearsal only";
        return vec![Finding::problem("standby", detail, "add `standby`, see docs/standby.md")];
    };
    let releases = match Releases::new() {
        Ok(releases) => releases,
        Err(error) => return vec![Finding::unknown("standby", error.to_string(), "install ca-certificates")],
    };
    let files = files(config, standby);
    let mut findings: Vec<Finding> = files.iter().filter_map(|(key, file)| placeholder(key, file)).collect();
    let of_files = async {
        let looks = files.iter().map(|(key, file)| look(&releases, standby, key, file, deep, progress).boxed());
        stream::iter(looks.collect::<Vec<_>>())
            .buffered(if deep { AT_A_TIME } else { files.len().max(1) })
            .collect::<Vec<_>>()
            .await
    };
    let (of_files, checkpoint) = tokio::join!(of_files, checkpoint(config, standby, &releases, deep));
    findings.extend(of_files.into_iter().flatten().chain(checkpoint));
    if !deep {
        let detail = "the releases were not fetched: a digest of another file is not noticed before the day";
        let remedy = "run `failover check --deep` once after every change of a release";
        findings.push(Finding::warning("digests", detail, remedy));
    }
    findings
}

/// Every file that some standby needs, or would after the keys were moved to it, once, by the key that names it.
fn files(config: &Config, standby: &StandbySettings) -> Vec<(String, DownloadSettings)> {
    let mut all: Vec<(String, &DownloadSettings)> = vec![("standby.failover".into(), &standby.failover)];
    if let Some(ethereum) = &standby.ethereum {
        let key = |name: &str| format!("standby.ethereum.{name}");
        all.push((key("geth"), &ethereum.geth.download));
        all.extend(ethereum.geth.genesis.iter().map(|genesis| (key("geth.genesis"), genesis)));
        match &ethereum.consensus {
            ConsensusSettings::Lighthouse(lighthouse) => {
                all.push((key("lighthouse"), &lighthouse.download));
                all.extend(lighthouse.validator.iter().map(|client| (key("lighthouse.validator"), client)));
            }
            ConsensusSettings::Prysm(prysm) => {
                all.push((key("prysm"), &prysm.download));
                all.extend(prysm.config.iter().map(|config| (key("prysm.config"), config)));
                all.extend(prysm.genesis_state.iter().map(|state| (key("prysm.genesis_state"), state)));
                all.extend(prysm.validator.iter().map(|client| (key("prysm.validator"), client)));
            }
        }
    }
    for validator in &config.validators {
        if let ValidatorKind::Generic { standby: Some(own), .. } = &validator.kind {
            all.push((format!("standby of {}", validator.name), &own.download));
        }
    }
    let mut files: Vec<(String, DownloadSettings)> = Vec::new();
    for (key, file) in all {
        if files.iter().all(|(_, known)| known != file) {
            files.push((key, file.clone()));
        }
    }
    files
}

/// A digest that somebody has filled in so that the form is right: no file has it, or an empty one.
fn placeholder(key: &str, file: &DownloadSettings) -> Option<Finding> {
    let digits = &file.sha256;
    // By chance one in 10^57 digests repeats itself so.
    let repeats = [1, 2, 4, 8, 16]
        .iter()
        .any(|length| digits.as_bytes().chunks(*length).all(|part| digits.as_bytes().starts_with(part)));
    (repeats || digits == OF_NOTHING).then(|| {
        let detail = format!("its digest {}… is a placeholder: nothing would be installed", &digits[..16]);
        let remedy = "put there what its project publishes, or what `sha256sum` prints of a file that you trust";
        Finding::problem(key, detail, remedy)
    })
}

/// The file at its mirror and at its own address: one of them has to be good.
async fn look(
    releases: &Releases,
    standby: &StandbySettings,
    key: &str,
    file: &DownloadSettings,
    deep: bool,
    progress: &ProgressLine,
) -> Vec<Finding> {
    let mirrored = standby.mirror.as_ref().and_then(|mirror| at_mirror(mirror, &file.url));
    let sources: Vec<&Url> = mirrored.iter().chain([&file.url]).collect();
    let at_work = deep.then(|| progress.begin(key));
    let looks = join_all(sources.iter().map(|url| source(releases, url, file, at_work.as_ref()))).await;
    let is_there = looks.iter().any(Result::is_ok);
    let finding = |(url, look): (&&Url, Result<String, Bad>)| {
        let subject = format!("{key} at {url}");
        match look {
            Ok(detail) => Finding::ok(subject, detail),
            // The machine tries the other one.
            Err((detail, remedy)) if is_there => Finding::warning(subject, detail, remedy),
            Err((detail, remedy)) => Finding::problem(subject, detail, remedy),
        }
    };
    sources.iter().zip(looks).map(finding).collect()
}

type Bad = (String, String);

fn at_mirror(mirror: &Url, url: &Url) -> Option<Url> {
    let name = url.path().trim_end_matches('/').rsplit('/').next()?;
    mirror.join(name).ok()
}

async fn source(
    releases: &Releases,
    url: &Url,
    file: &DownloadSettings,
    at_work: Option<&AtWork<'_>>,
) -> Result<String, Bad> {
    let bad = |error: ReleaseError| (error.to_string(), error.remedy().to_owned());
    let Some(at_work) = at_work else {
        let size = releases.reach(url).await.map_err(bad)?;
        return Ok(size.map_or_else(|| "is there".into(), |size| format!("is there, {}", mebibytes(size))));
    };
    let digest = releases.digest(url, |read, all| {
        let all = all.map(|all| format!(" of {}", mebibytes(all))).unwrap_or_default();
        at_work.at(format!("{}{all}", mebibytes(read)));
    });
    let digest = digest.await.map_err(bad)?;
    if digest == file.sha256 {
        return Ok("fetched, and its digest is right".into());
    }
    let detail = format!("its SHA-256 is {digest}, and not {}", file.sha256);
    let remedy = "compare both with what its project publishes: the address names another version, or the digest is \
                  another file's";
    Err((detail, remedy.to_owned()))
}

fn mebibytes(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{bytes} bytes") } else { format!("{} MiB", bytes >> 20) }
}

/// Where a sync begins: the right chain, and, looked at deeply, whether the state itself is given out.
async fn checkpoint(config: &Config, standby: &StandbySettings, releases: &Releases, deep: bool) -> Option<Finding> {
    let url = standby.ethereum.as_ref()?.checkpoint_sync_url.as_ref()?;
    let subject = format!("standby.ethereum.checkpoint_sync_url {url}");
    let root = home_root(config).await;
    let client = match public_client(Duration::from_secs(30)) {
        Ok(client) => client,
        Err(error) => return Some(Finding::unknown(subject, error.to_string(), "install ca-certificates")),
    };
    let remedy = "name another one: without it a sync takes weeks";
    let followed = match beacon::followed(client, url, root.as_deref()).await {
        Ok(root) => root,
        Err(why) => return Some(Finding::problem(subject, format!("it {why}"), remedy)),
    };
    if deep && let Ok(state) = url.join("eth/v2/debug/beacon/states/finalized") {
        return Some(match releases.reach(&state).await {
            Ok(_) => Finding::ok(subject, format!("follows {followed}, and gives out its finalized state")),
            Err(error) => Finding::problem(subject, format!("its finalized state {error}"), remedy),
        });
    }
    Some(Finding::ok(subject, format!("follows {followed}")))
}

/// The chain that is validated: the configured one, or the one that home's beacon nodes follow. A standby that began on
/// another would never be ready.
async fn home_root(config: &Config) -> Option<String> {
    let ethereum = config.ethereum.as_ref()?;
    if let Some(root) = &ethereum.genesis_root {
        return Some(root.clone());
    }
    let client = client(HOME).ok()?;
    let asked = ethereum.beacon_nodes.iter().map(|node| beacon::followed(client.clone(), &node.url, None));
    join_all(asked).await.into_iter().find_map(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sha256: &str) -> DownloadSettings {
        DownloadSettings { url: "https://releases.example/f".parse().unwrap(), sha256: sha256.into() }
    }

    #[test]
    fn a_digest_that_only_has_the_form_is_a_problem() {
        for made_up in
            ["0".repeat(64), "ab".repeat(32), "deadbeef".repeat(8), "0123456789abcdef".repeat(4), OF_NOTHING.into()]
        {
            assert!(placeholder("geth", &file(&made_up)).is_some(), "{made_up}");
        }
        assert_eq!(
            placeholder("geth", &file("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")),
            None
        );
    }

    #[test]
    fn a_mirror_has_the_files_by_their_names() {
        let mirror = "https://mirror.example/files/".parse().unwrap();
        let at = |url: &str| at_mirror(&mirror, &url.parse().unwrap()).unwrap().to_string();
        assert_eq!(at("https://r.example/v1/geth.tar.gz?x=1"), "https://mirror.example/files/geth.tar.gz");
    }
}
