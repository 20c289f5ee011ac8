//! The cloud from the configuration: credentials, prices, the client.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use google_cloud_auth::credentials::{self, Credentials, anonymous, external_account, service_account};

use url::Url;

use crate::{
    adapters::{
        clock::SystemClock,
        date,
        gce::{Gce, GceConfig},
        http,
    },
    bundle::Bundle,
    config::{ComputeSettings, Config, CredentialSettings},
    domain::{ClockOffset, one_line},
    files,
    ports::CALL_TIMEOUT,
};

/// As much of an error about credentials as is shown.
const SAID: usize = 300;

/// Who we are to Google.
///
/// # Errors
/// A file that is no credential.
pub fn credentials(settings: &CredentialSettings) -> anyhow::Result<Credentials> {
    match settings {
        CredentialSettings::Anonymous => Ok(anonymous::Builder::new().build()),
        CredentialSettings::ApplicationDefault => credentials::Builder::default().build().context(
            "no application default credentials: run `gcloud auth application-default login`, or name a key_file",
        ),
        CredentialSettings::KeyFile(path) => {
            let name = path.display();
            let text = files::read_text(path, files::MOST).with_context(|| format!("{name} cannot be read"))?;
            let json: serde_json::Value =
                serde_json::from_str(&text).with_context(|| format!("{name} is not a credential file"))?;
            let built = match json.get("type").and_then(|kind| kind.as_str()) {
                Some("external_account") => external_account::Builder::new(json).build(),
                _ => service_account::Builder::new(json).build(),
            };
            built.with_context(|| format!("{name} is not a credential file that can be used"))
        }
    }
}

/// How long Google may take to say who we are: a metadata server that is not there is looked for repeatedly.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(20);

/// Gets a token, or whatever these credentials offer, and forgets it.
///
/// # Errors
/// Why there is none, in words.
pub async fn login(settings: &CredentialSettings) -> Result<(), String> {
    http::install_tls_provider();
    let credentials = credentials(settings).map_err(|error| format!("{error:#}"))?;
    match tokio::time::timeout(LOGIN_TIMEOUT, credentials.headers(::http::Extensions::new())).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            // Whatever is wrong, the library's own words above it are the same half page.
            let root = anyhow::Error::from(error).root_cause().to_string();
            Err(format!("no token could be had: {}", one_line(&root, SAID)))
        }
        Err(_) => Err(format!("no token within {} s", LOGIN_TIMEOUT.as_secs())),
    }
}

/// The watcher's cloud, if one is configured.
///
/// # Errors
/// Credentials that cannot be used; a bundle that does not fit into a machine's metadata.
pub async fn cloud(config: &Config) -> anyhow::Result<Option<Arc<Gce>>> {
    let Some(compute) = &config.compute else { return Ok(None) };
    let gce = Gce::new(gce_config(config, compute, credentials(&compute.credentials)?)?).await?;
    Ok(Some(Arc::new(gce)))
}

/// The same cloud with the operator's own rights: what the environment offers, never the watcher's key file.
///
/// # Errors
/// Credentials that cannot be used; a bundle that does not fit into a machine's metadata.
pub async fn operators_cloud(config: &Config) -> anyhow::Result<Option<Arc<Gce>>> {
    let Some(compute) = &config.compute else { return Ok(None) };
    let own = match &compute.credentials {
        CredentialSettings::Anonymous => &CredentialSettings::Anonymous,
        CredentialSettings::ApplicationDefault | CredentialSettings::KeyFile(_) => {
            &CredentialSettings::ApplicationDefault
        }
    };
    Ok(Some(Arc::new(Gce::new(gce_config(config, compute, credentials(own)?)?).await?)))
}

fn gce_config(config: &Config, compute: &ComputeSettings, credentials: Credentials) -> anyhow::Result<GceConfig> {
    let bundle = Bundle::new(config)?;
    let operation_timeout = compute.operation_timeout.try_into().unwrap_or(Duration::from_mins(5));
    Ok(GceConfig {
        project: compute.project.clone(),
        endpoint: compute.endpoint.clone(),
        // An endpoint of one's own serves both; Google's own are two.
        resource_manager: compute.endpoint.clone(),
        credentials,
        ladder: compute.ladder.clone(),
        site: config.site.clone(),
        subnetwork: compute.subnetwork.clone(),
        tags: compute.tags.clone(),
        image: compute.image.clone(),
        boot_disk_gb: compute.boot_disk_gb,
        disk_type: compute.disk_type.clone(),
        disk_gb: compute.disk_gb,
        bundle,
        call_timeout: call_timeout(config),
        operation_timeout,
        // A creation takes 20 to 60 seconds; a hundred looks in the longest time allowed cost nothing.
        poll_every: (operation_timeout / 100).min(Duration::from_secs(3)),
    })
}

/// How long one call that changes something may take: it has to end within what a renewed lease has left.
#[must_use]
pub fn call_timeout(config: &Config) -> Duration {
    let lease = Duration::try_from(config.policy.lease).unwrap_or(Duration::ZERO);
    Duration::try_from(CALL_TIMEOUT).unwrap_or(Duration::MAX).min(lease.mul_f32(0.6))
}

/// How far the cloud's clock is ahead of this machine's: its answers carry their date.
///
/// # Errors
/// Why that cannot be told, in words.
pub async fn clock_offset(config: &Config) -> Result<ClockOffset, String> {
    let compute =
        config.compute.as_ref().ok_or("there is no `compute` section to ask somebody outside of this home")?;
    let google = || Url::parse("https://compute.googleapis.com/").expect("a constant");
    let url = compute.endpoint.clone().unwrap_or_else(google);
    let client = http::client(Duration::from_secs(5)).map_err(|error| error.to_string())?;
    date::offset(&client, &url, &SystemClock).await.map_err(|error| format!("{url}: {error}"))
}
