//! `failover simulate`: a text of events and expectations, run against the pure domain.
//!
//! It talks to nobody and knows no real time: an operator can ask "what would it do if", and the golden tests in
//! `tests/scenarios/` are files of the same kind.

mod parse;
mod run;

pub use parse::{
    Expectation, GateSays, Line, ListedMachine, ParseError, Scenario, ScriptedAnswer, Statement, Wrote, parse,
};
pub use run::{SimulationReport, Tamper, run, run_with};
