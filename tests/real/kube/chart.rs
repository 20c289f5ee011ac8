//! The chart's own checks, as scripts that people run by hand as well.

use std::process::Command;

use super::cluster::run;

const CHARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts");

#[test]
fn the_chart_renders_what_the_program_takes_and_refuses_what_it_refuses() {
    let said = run(Command::new(format!("{CHARTS}/check.sh")).arg(env!("CARGO_BIN_EXE_failover")));
    assert!(said.contains("the chart is well"), "{said}");
}

#[test]
fn the_chart_installs_with_the_rights_it_promises_and_no_other() {
    let said = run(&mut Command::new(format!("{CHARTS}/check-cluster.sh")));
    assert!(said.contains("the chart installs"), "{said}");
}
