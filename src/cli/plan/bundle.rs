//! `failover plan --show bundle`: what a machine would be given, for people to read before it ever happens.
//!
//! It asks nobody and creates nothing; the incident in it is one that will never be.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;

use crate::{
    bundle::{Bundle, MAX_TOTAL},
    cli::{
        Exit,
        out::{self, say},
    },
    config::Config,
    domain::{IncidentId, Time},
};

/// Carries the files, packed; shown unpacked instead.
const PACKED: &str = "failover-bundle";

pub(super) fn show(config: &Config, validator: Option<&str>, to: Option<&Path>, json: bool) -> anyhow::Result<Exit> {
    let mut names = config.validators.iter().map(|settings| &settings.name);
    let validator = names
        .find(|name| validator.is_none_or(|wanted| name.as_str() == wanted))
        .context("the configuration names no validator")?;
    let bundle = Bundle::new(config)?;
    let items = bundle.metadata(validator, IncidentId::derive(validator, Time::UNIX_EPOCH));
    if json {
        let items: BTreeMap<_, _> = items.into_iter().collect();
        out::json(&items)?;
        return Ok(Exit::Done);
    }
    let bytes: usize = items.iter().map(|(key, value)| key.len() + value.len()).sum();
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let packed = items.iter().any(|(key, _)| *key == PACKED);
    texts.extend(items.into_iter().filter(|(key, _)| *key != PACKED).map(|(key, value)| (key.to_owned(), value)));
    if packed {
        let files = Bundle::files();
        texts.extend(files.into_iter().map(|(path, text)| (path, String::from_utf8_lossy(text).into_owned())));
    }
    match to {
        Some(folder) => write(folder, &texts)?,
        None => print(validator.as_str(), bytes, &texts),
    }
    Ok(Exit::Done)
}

fn print(validator: &str, bytes: usize, texts: &BTreeMap<String, String>) {
    say!("A standby of {validator} is given {bytes} bytes of metadata, of at most {MAX_TOTAL}. No secret is in it:");
    say!("anyone who can view the machine in the cloud can read it.");
    for (name, text) in texts {
        say!("\n==> {name} <==\n{}", text.trim_end());
    }
}

fn write(folder: &Path, texts: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for (name, text) in texts {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, text));
        written.with_context(|| format!("{} cannot be written", path.display()))?;
    }
    say!("{} files in {}", texts.len(), folder.display());
    Ok(())
}
