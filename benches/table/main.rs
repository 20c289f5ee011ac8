//! `make bench`: one table. Absolute numbers are this machine's; what counts is the ratio within one run.

#![allow(clippy::disallowed_methods, reason = "the far ends are the benchmark's own")]
#![allow(clippy::unwrap_used, reason = "a benchmark may fail by panicking")]

use std::{fs, path::Path, time::Duration};

mod agent;
mod domain;
mod insert;
#[path = "../../tests/common/kills.rs"]
mod kills;
mod kube;
mod lease;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/common/pair.rs"]
mod pair;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/common/proxy.rs"]
mod proxy;
mod usage;
mod watcher;
mod webhook;

/// All of them, or those that are named: `cargo bench --bench table -- lease kube`.
fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    println!("{:58} {:>16}  goal", "", "measured");
    if wanted("domain") {
        rates();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        if wanted("webhook") {
            webhook::webhook().await;
        }
        if wanted("alerts") {
            webhook::storm().await;
            webhook::restart().await;
        }
        if wanted("insert") {
            insert::insert().await;
        }
        if wanted("process") {
            process().await;
        }
        if wanted("lease") {
            lease::take_over().await;
        }
        if wanted("kube") {
            kube::kube().await;
        }
        if wanted("agent") {
            agent::agent().await;
        }
        if wanted("kills") {
            killed().await;
        }
    });
}

fn rates() {
    let (ten, thousand) = (domain::step_rate(10), domain::step_rate(1000));
    row("step, calls a second (10 validators)", &format!("{:.2} M", ten / 1e6), "> 1 M");
    row("step, calls a second (1000 validators)", &format!("{:.2} M", thousand / 1e6), "> 1 M");
    row("cost of one event, 1000 validators : 10", &format!("{:.2}", ten / thousand), "flat (1)");
    row("simulated incidents a second", &format!("{:.0}", domain::incident_rate()), "> 50 000");
}

fn row(what: &str, measured: &str, goal: &str) {
    println!("{what:58} {measured:>16}  {goal}");
}

async fn process() {
    let folder = tempfile::tempdir().unwrap();
    let (watcher, _, ready) = watcher::serve(folder.path(), |port| watcher::config(folder.path(), port, 100)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (resident, _) = usage::resident(watcher.0.id());
    row("resident, idle, 100 validators", &format!("{resident:.1} MB"), "<= 20 MB");
    row("start to ready, 100 validators", &format!("{:.0} ms", ready.as_secs_f64() * 1e3), "< 100 ms");
    let size = fs::metadata(env!("CARGO_BIN_EXE_failover")).unwrap().len();
    row("release binary, stripped, with the sandbox", &format!("{:.1} MB", size as f64 / 1e6), "<= 20 MB");
}

async fn killed() {
    let sweep = kills::sweep(Path::new(env!("CARGO_BIN_EXE_failover"))).await.unwrap();
    // A run that ends otherwise is an error, and there is no table.
    let ended_well = format!("{0} of {0}", sweep.kills());
    row("kill -9 at each write and request: one standby, one mail", &ended_well, "all");
    row("mails repeated with the same Message-ID", &sweep.repeated_mails.to_string(), "");
}
