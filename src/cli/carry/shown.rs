//! How it goes and how it ended, for people and as JSON.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    sync::Mutex,
};

use super::super::{
    Exit, out,
    out::{complain, say},
};
use crate::{
    domain::{
        Span, ValidatorId, clock,
        gates::{Gate, GateReport},
        human,
        promotion::PromotionEnd,
        visible_line,
    },
    promotion::{ProgressKind, PromotionError, PromotionOutcome, PromotionProgress, PromotionWay},
};

pub(super) fn how_to_continue(validator: &ValidatorId, way: PromotionWay) -> String {
    match way {
        PromotionWay::ToCloud => format!(
            "Continue with `failover promote {validator} --resume`, or take it back with `failover promote {validator} --abort`"
        ),
        PromotionWay::ToHome => format!(
            "Continue with `failover demote {validator} --resume`, or take it back with `failover demote {validator} --abort`"
        ),
        PromotionWay::Back => "Repeat the same command to finish it".to_owned(),
    }
}

/// What is printed.
pub(super) struct Shown {
    json: bool,
    last: Mutex<String>,
}

impl Shown {
    pub(super) fn new(json: bool) -> Self {
        Self { json, last: Mutex::default() }
    }

    pub(super) fn progress(&self, progress: &PromotionProgress) {
        if self.json {
            // Nothing else can be done about a line that cannot be written.
            let _ = out::json_line(progress);
            return;
        }
        let PromotionProgress { at, event, text, percent, seconds_left } = progress;
        let percent = percent.map_or_else(String::new, |percent| format!(" ({percent} %)"));
        let left = seconds_left.and_then(|left| i64::try_from(left).ok()).map(Span::from_secs);
        let left = left.map_or_else(String::new, |left| format!(", {} left at most", human(left)));
        let line = visible_line(&format!("{}  {text}{percent}{left}", clock(*at)));
        let repeats = matches!(event, ProgressKind::Waits | ProgressKind::Continues);
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match (repeats, stderr().is_terminal()) {
            (true, true) => {
                let _ = write!(stderr(), "\r\x1b[2K{line}").and_then(|()| stderr().flush());
                *last = line;
            }
            (true, false) if *last == *text => {}
            (true, false) => {
                say!("{line}");
                last.clone_from(text);
            }
            (false, _) => {
                if stderr().is_terminal() && !last.is_empty() {
                    complain!("");
                }
                last.clear();
                say!("{line}");
            }
        }
    }

    pub(super) fn line_ends(&self) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !self.json && stderr().is_terminal() && !last.is_empty() {
            complain!("");
        }
        last.clear();
    }

    pub(super) fn outcome(
        &self,
        validator: &ValidatorId,
        way: PromotionWay,
        outcome: &PromotionOutcome,
        state: Option<&str>,
    ) -> Exit {
        let (exit, text) = match outcome {
            PromotionOutcome::Done => (Exit::Done, done(validator, way)),
            PromotionOutcome::Keys => (Exit::Done, keys(validator)),
            PromotionOutcome::Watch(until) => {
                let text = format!(
                    "the cloud signs; until {} the watcher looks for any sign of home: failover status --watch",
                    clock(*until)
                );
                (Exit::Done, text)
            }
            PromotionOutcome::Refused(report) => {
                let next = how_to_continue(validator, way);
                (Exit::Refused, format!("refused: {}\n{next}", refused(report)))
            }
            PromotionOutcome::Declined => (
                Exit::Refused,
                format!("that is not its name: nothing was signed. {}", how_to_continue(validator, way)),
            ),
            PromotionOutcome::Printed => {
                let resume = if way == PromotionWay::Back { "--abort" } else { "--resume" };
                (Exit::Done, format!("sign it, then repeat this command with {resume} and `--signed FILE`"))
            }
            PromotionOutcome::Ended(end @ PromotionEnd::Drill(_)) => (Exit::Done, end.to_string()),
            PromotionOutcome::Ended(end) => (Exit::Refused, format!("refused: {end}")),
        };
        self.end(exit, &text, state);
        exit
    }

    pub(super) fn error(
        &self,
        validator: &ValidatorId,
        way: PromotionWay,
        error: &PromotionError,
        state: Option<&str>,
    ) -> Exit {
        self.end(Exit::Failed, &format!("error: {error}. {}", how_to_continue(validator, way)), state);
        Exit::Failed
    }

    fn end(&self, exit: Exit, text: &str, state: Option<&str>) {
        if self.json {
            let ended = match exit {
                Exit::Done => "done",
                Exit::Failed | Exit::CouldNotLook => "failed",
                Exit::Refused => "refused",
            };
            let _ =
                out::json_line(&serde_json::json!({ "event": "ended", "ended": ended, "text": text, "state": state }));
            return;
        }
        if exit == Exit::Done {
            say!("{text}")
        } else {
            complain!("{text}")
        }
        if let Some(state) = state {
            say!("now: {state}");
        }
    }
}

fn done(validator: &ValidatorId, way: PromotionWay) -> String {
    match way {
        PromotionWay::ToCloud => format!("{validator}: the machine is yours; nothing deletes it but you"),
        PromotionWay::ToHome => format!(
            "{validator}: home may sign again. The machine stays, stopped and protected: it may hold keys; delete it when home signs"
        ),
        PromotionWay::Back => format!("{validator}: taken back"),
    }
}

fn keys(validator: &ValidatorId) -> String {
    format!(
        "{validator}: the grant is in force and on the machine. Nothing signs until you have moved the keys:\n  failover \
         runbook {validator} --promote      what to do, in your own names\n  failover promote {validator} --resume     \
         shows when the chain has its first duty\n  failover grants {validator}               who may sign"
    )
}

fn refused(report: &GateReport) -> String {
    let blocking = report.blocking();
    let gates = report.gates.iter().filter(|gate| blocking.contains(&gate.id));
    let line = |gate: &Gate| {
        format!(
            "\n  {} ({}): {}\n      next: {}",
            gate.name,
            gate.id,
            visible_line(&gate.evidence),
            visible_line(gate.next)
        )
    };
    format!("these gates do not pass:{}", gates.map(line).collect::<String>())
}
