//! The cloud: first whether we are logged in, because without that nothing else it says means anything.

use crate::{
    assembly,
    config::{Config, CredentialSettings},
    ports::{Finding, FindingState},
};

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let Some(compute) = &config.compute else {
        let remedy = "add `compute` with a project and a ladder, see docs/gcp.md";
        return vec![Finding::problem("cloud", "no `compute` section: nothing could be created on the day", remedy)];
    };
    match login(&compute.credentials, "compute.credentials").await {
        Some(bad) if bad.state != FindingState::Ok => vec![bad],
        login => {
            let cloud = match assembly::cloud::cloud(config).await {
                Ok(Some(cloud)) => cloud.check().await,
                Ok(None) => Vec::new(),
                Err(error) => {
                    let remedy = "correct what is named; `failover plan --show bundle` prints what a machine is given";
                    vec![Finding::problem("cloud", format!("{error:#}"), remedy)]
                }
            };
            login.into_iter().chain(cloud).collect()
        }
    }
}

/// Whether Google knows who we are. `key` is what says so in the configuration.
pub(super) async fn login(settings: &CredentialSettings, key: &str) -> Option<Finding> {
    let subject = format!("Google login ({key})");
    if *settings == CredentialSettings::Anonymous {
        return None;
    }
    Some(match assembly::cloud::login(settings).await {
        Ok(()) => Finding::ok(subject, "there is one"),
        Err(why) => Finding::problem(subject, why, remedy(settings, key, in_a_pod())),
    })
}

fn in_a_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

fn remedy(settings: &CredentialSettings, key: &str, in_a_pod: bool) -> String {
    match settings {
        CredentialSettings::ApplicationDefault if in_a_pod => format!(
            "this pod has no identity at Google: let docs/gcp/setup.sh bind its service account (workload identity \
             federation) and give the chart the values that it prints, or name a credential file in `{key}.key_file`"
        ),
        CredentialSettings::ApplicationDefault => {
            format!("run `gcloud auth application-default login`, or name a credential file in `{key}.key_file`")
        }
        CredentialSettings::KeyFile(path) => format!(
            "{} (`{key}.key_file`) is not accepted by Google: make a new key of the service account, or, where it \
             describes a workload identity pool, see that the token it names is there and that the pool trusts this \
             cluster (docs/gcp/setup.sh)",
            path.display()
        ),
        CredentialSettings::Anonymous => format!("name who we are in `{key}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_login_the_advice_is_to_log_in_where_one_is() {
        let default = CredentialSettings::ApplicationDefault;
        let laptop = remedy(&default, "compute.credentials", false);
        assert!(laptop.contains("`gcloud auth application-default login`"), "{laptop}");
        let pod = remedy(&default, "compute.credentials", true);
        assert!(pod.contains("bind its service account") && !pod.contains("gcloud auth"), "{pod}");
        for said in [laptop, pod, remedy(&CredentialSettings::KeyFile("k.json".into()), "compute.credentials", true)] {
            assert!(!said.contains("ladder"), "{said}");
        }
    }
}
