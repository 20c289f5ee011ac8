//! How often the clients were started again, as systemd counts. It starts and stops nothing.
//!
//! It asks `systemctl show` and not D-Bus itself: one short process in half a minute is cheaper than a library that
//! stays in memory. Where systemctl cannot answer, it counts the changes of the units' invocations that it sees itself,
//! which are links any user may read; that count begins with the agent.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

/// systemd answers in milliseconds; one that hangs must not keep a report waiting.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Restarts {
    units: Vec<String>,
    invocations: PathBuf,
    last: BTreeMap<String, PathBuf>,
    seen: u32,
    /// What systemctl last said: kept when it does not answer once, because the count does not fall within a boot.
    said: Option<u32>,
}

impl Restarts {
    /// These units; `run` is systemd's folder `/run/systemd`.
    #[must_use]
    pub fn of(units: Vec<String>, run: &std::path::Path) -> Self {
        Self { units, invocations: run.join("units"), last: BTreeMap::new(), seen: 0, said: None }
    }

    pub async fn count(&mut self) -> u32 {
        if self.units.is_empty() {
            return 0;
        }
        self.look();
        if let Some(said) = self.ask().await {
            self.said = Some(said);
        }
        self.said.unwrap_or(self.seen)
    }

    async fn ask(&self) -> Option<u32> {
        let mut command = Command::new("systemctl");
        command.args(["show", "--property=NRestarts", "--value", "--"]).args(&self.units);
        command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let output = timeout(PATIENCE, command.output()).await.ok()?.ok()?;
        if !output.status.success() {
            return None;
        }
        sum(&String::from_utf8_lossy(&output.stdout), self.units.len())
    }

    /// `invocation:failover-geth.service` links to an id that is new with every start.
    fn look(&mut self) {
        for unit in &self.units {
            let Ok(id) = std::fs::read_link(self.invocations.join(format!("invocation:{unit}"))) else { continue };
            let before = self.last.insert(unit.clone(), id.clone());
            if before.is_some_and(|before| before != id) {
                self.seen = self.seen.saturating_add(1);
            }
        }
    }
}

/// One number for each unit, with empty lines between; fewer mean that systemd said something else.
fn sum(text: &str, units: usize) -> Option<u32> {
    let counts: Option<Vec<u32>> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| line.parse().ok()).collect();
    let counts = counts.filter(|counts| counts.len() == units)?;
    Some(counts.into_iter().fold(0, u32::saturating_add))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_counts_of_all_units_are_added_and_anything_else_is_no_count() {
        assert_eq!(sum("3\n\n4\n", 2), Some(7));
        assert_eq!(sum("4294967295\n\n4\n", 2), Some(u32::MAX));
        for other in ["", "3\n", "3\n\nfour\n", "1\n2\n3\n"] {
            assert_eq!(sum(other, 2), None, "{other:?}");
        }
    }

    #[test]
    fn a_new_invocation_is_a_restart_and_the_first_one_is_none() {
        let run = tempfile::tempdir().unwrap();
        let link = run.path().join("units/invocation:failover-geth.service");
        std::fs::create_dir(run.path().join("units")).unwrap();
        let mut restarts = Restarts::of(vec!["failover-geth.service".into()], run.path());
        restarts.look();
        let mut after = |id: &str| {
            let _ = std::fs::remove_file(&link);
            symlink(id, &link).unwrap();
            restarts.look();
            restarts.seen
        };
        assert_eq!((after("aaaa"), after("aaaa"), after("bbbb"), after("cccc")), (0, 0, 1, 2));
    }
}
