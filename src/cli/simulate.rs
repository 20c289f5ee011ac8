//! `failover simulate`.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{
    Exit,
    out::{self, complain, say},
};
use crate::{files, simulate};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: failover simulate tests/scenarios/two_signals_open_an_incident.txt

Ends with 1 when an expectation is not met or none is there. docs/simulate.md explains the language.")]
pub(super) struct Options {
    /// A scenario; - reads standard input.
    file: PathBuf,
    /// Print only what is not as expected.
    #[arg(short, long)]
    quiet: bool,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<Exit> {
    let name = options.file.display();
    let text = if options.file.as_os_str() == "-" {
        files::read_text_from(std::io::stdin(), files::MOST).context("standard input cannot be read")?
    } else {
        files::read_text(&options.file, files::MOST).with_context(|| format!("{name} cannot be read"))?
    };
    let scenario = simulate::parse(&text).with_context(|| format!("{name} is not a scenario"))?;
    let report = simulate::run(&scenario);
    if options.json {
        out::json(&report)?;
        return Ok(if report.checked > 0 && report.failures.is_empty() { Exit::Done } else { Exit::Failed });
    }
    if !options.quiet {
        out::text(&report.transcript);
    }
    if report.checked == 0 {
        complain!("{name}: nothing is expected, so nothing is shown; add a line like: 10m expect eth-0 phase watching");
        return Ok(Exit::Failed);
    }
    for failure in &report.failures {
        complain!("{name}: {failure}");
    }
    let met = report.checked - report.failures.len().min(report.checked);
    say!("{met} of {} expectations met", report.checked);
    Ok(if report.failures.is_empty() { Exit::Done } else { Exit::Failed })
}
