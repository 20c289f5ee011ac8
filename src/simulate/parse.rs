//! The text of a scenario. One statement a line, each with the line it came from for messages.

use std::{collections::BTreeMap, str::FromStr};

use crate::domain::{
    ChainHealth, Evidence, MachineState, Mode, OtherChain, Owner, Policy, PricedRung, Role, Rung, Source, Span, Usd,
    ValidatorId, Verdict, policy_keys,
};

mod observed;

pub use observed::{GateSays, PromotionSays};

#[derive(Clone, Debug)]
pub struct Scenario {
    pub validators: Vec<ValidatorId>,
    /// The defaults, changed by its `policy` lines.
    pub policy: Policy,
    /// What happens and what is expected, in order.
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug)]
pub struct Line {
    /// Its number in the file, from 1.
    pub number: usize,
    pub at: Span,
    pub statement: Statement,
}

#[derive(Clone, Debug)]
pub enum Statement {
    Signal {
        validator: ValidatorId,
        source: Source,
        verdict: Verdict,
        evidence: Evidence,
        about: (Span, Span),
        fresh: Span,
    },
    Keys {
        validator: ValidatorId,
        active: usize,
        slashed: usize,
        silent: usize,
    },
    Gate {
        validator: ValidatorId,
        says: GateSays,
        fresh: Span,
    },
    Chain(ChainHealth),
    Maintenance {
        validator: ValidatorId,
        why: Option<String>,
        fresh: Span,
    },
    Machines {
        validator: ValidatorId,
        listed: Vec<ListedMachine>,
        ours: bool,
    },
    Request {
        validator: ValidatorId,
        id: Option<String>,
        ask: String,
        until: Option<Span>,
        incident: Option<String>,
        written: Span,
    },
    Owner {
        validator: ValidatorId,
        owner: Owner,
    },
    Promotion {
        validator: ValidatorId,
        says: PromotionSays,
    },
    Policy(Vec<String>),
    ScriptedAnswer {
        validator: ValidatorId,
        answer: ScriptedAnswer,
    },
    Delivered(ValidatorId),
    Restart,
    ClockJump(Span),
    Expectation(Expectation),
}

/// One machine as a list shows it; of the open incident unless it names one.
#[derive(Clone, Debug)]
pub struct ListedMachine {
    pub role: Role,
    pub state: MachineState,
    pub incident: Option<String>,
    pub id: Option<u64>,
}

/// How the action under way ends.
#[derive(Clone, Debug)]
pub enum ScriptedAnswer {
    Found(Vec<ListedMachine>),
    Created,
    Exists,
    OutOfStock,
    Quota,
    Refused,
    RefusedHere,
    Unknown,
    Busy,
    FoundWithout(Vec<String>, Vec<ListedMachine>),
    Seen { state: MachineState, role: Role, written: Wrote },
    Gone,
    Deleted,
    Untouchable,
    Failed,
    Console(String),
    Disks(Vec<String>),
}

/// What the machine has written where its report belongs.
#[derive(Clone, Debug)]
pub enum Wrote {
    Nothing,
    Starting(String),
    Unreadable,
    Report(BTreeMap<String, String>),
}

/// What must hold at that moment.
#[derive(Clone, Debug)]
pub enum Expectation {
    Phase(ValidatorId, String),
    Says(ValidatorId, String),
    Asked(ValidatorId, String),
    Created(ValidatorId, usize),
    Mails(ValidatorId, Vec<String>),
    Reminders(ValidatorId, Vec<String>),
    Incidents(usize),
}

/// What is wrong with the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct ParseError {
    /// Its number, from 1.
    pub line: usize,
    /// What, and what would be right.
    pub why: String,
}

/// Reads a scenario.
///
/// # Errors
/// [`ParseError`] names the first line that is not a statement, and time running backwards.
pub fn parse(text: &str) -> Result<Scenario, ParseError> {
    let mut scenario = Scenario { validators: Vec::new(), policy: Policy::default(), lines: Vec::new() };
    let mut last = Span::ZERO;
    for (index, raw) in text.lines().enumerate() {
        let number = index + 1;
        let code = raw.split('#').next().unwrap_or_default();
        let words = words(code);
        let Some(first) = words.first() else { continue };
        let fail = |why: String| ParseError { line: number, why };
        match first.as_str() {
            "validators" => {
                for name in &words[1..] {
                    scenario.validators.push(validator(name).map_err(fail)?);
                }
            }
            "policy" => policy(&mut scenario.policy, &words[1..]).map_err(fail)?,
            "ladder" => scenario.policy.ladder.push(rung(&words[1..]).map_err(fail)?),
            time => {
                let at = match time.strip_prefix('+') {
                    Some(more) => last + span(more).map_err(fail)?,
                    None => span(time).map_err(fail)?,
                };
                if at < last {
                    return Err(fail(format!("time runs backwards: {time} comes after {last:#}")));
                }
                last = at;
                let statement = statement(&words[1..]).map_err(fail)?;
                scenario.lines.push(Line { number, at, statement });
            }
        }
    }
    if scenario.validators.is_empty() {
        scenario.validators.push(validator("eth-0").expect("a name like every other"));
    }
    Ok(scenario)
}

/// Words between blanks; a text in double quotes is one word.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn span(word: &str) -> Result<Span, String> {
    Span::from_str(word).map_err(|_| format!("'{word}' is not a time like 5m or 1h30m"))
}

fn validator(word: &str) -> Result<ValidatorId, String> {
    ValidatorId::new(word).map_err(|error| format!("'{word}': {error}"))
}

fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("'{word}' is not a number"))
}

pub(super) fn policy(policy: &mut Policy, words: &[String]) -> Result<(), String> {
    if let [key, name, chain @ ..] = words
        && key == "read"
    {
        let chain_id = match chain {
            [] => None,
            [chain] => Some(chain.clone()),
            _ => return Err("write: policy read VALIDATOR [CHAIN]".into()),
        };
        policy.other_chains.insert(validator(name)?, OtherChain::Read { chain_id });
        return Ok(());
    }
    let [key, value] = words else { return Err("write: policy KEY VALUE".into()) };
    match key.as_str() {
        "mode" => {
            policy.mode = match value.as_str() {
                "armed" => Mode::Armed,
                "observe" => Mode::Observe,
                other => return Err(format!("mode is armed or observe, not '{other}'")),
            }
        }
        "needed" => policy.needed = number(value)?,
        "remind_every" => policy.remind_every = span(value)?,
        "retry_after" => policy.retry_after = span(value)?,
        "retry_cap" => policy.retry_cap = span(value)?,
        "report_stale_after" => policy.report_stale_after = span(value)?,
        "observe_every" => policy.observe_every = span(value)?,
        "recheck_every" => policy.recheck_every = span(value)?,
        "simulated" => policy.simulated = value == "yes",
        "probed" => {
            policy.other_chains.insert(validator(value)?, OtherChain::Probed);
        }
        "provisioning_deadline" => policy.provisioning_deadline = span(value)?,
        "budget_per_incident" => policy.budget_per_incident = Some(Usd(number(value)?)),
        "budget_per_month" => policy.budget_per_month = Some(Usd(number(value)?)),
        "mail_to" => policy.mail_to.push(value.clone()),
        other => return threshold(policy, other, value),
    }
    Ok(())
}

macro_rules! read {
    (Span, $value:ident) => {
        span($value)?
    };
    ($number:ident, $value:ident) => {
        number::<$number>($value)?
    };
}

macro_rules! threshold {
    ($($(#[$meaning:meta])* $key:ident: $type:ident = $default:expr;)*) => {
        /// Changes one of the thresholds that the file has.
        fn threshold(policy: &mut Policy, key: &str, value: &str) -> Result<(), String> {
            match key {
                $(stringify!($key) => policy.$key = read!($type, value),)*
                other => return Err(format!("no policy is called '{other}'")),
            }
            Ok(())
        }
    };
}
policy_keys!(threshold);

fn rung(words: &[String]) -> Result<PricedRung, String> {
    let (zone, machine_type, price) = match words {
        [zone, machine_type] => (zone, machine_type, None),
        [zone, machine_type, price] => (zone, machine_type, Some(number::<f64>(price)?)),
        _ => return Err("write: ladder ZONE MACHINE_TYPE [USD_PER_HOUR]".into()),
    };
    Ok(PricedRung {
        rung: Rung { zone: zone.clone(), machine_type: machine_type.clone() },
        per_hour: price.map(Usd),
        at_most: price.map(|usd| Usd(usd * 72.0)),
        stopped_per_month: price.map(|_| Usd(200.0)),
    })
}

fn statement(words: &[String]) -> Result<Statement, String> {
    let Some((verb, rest)) = words.split_first() else { return Err("a time needs a statement".into()) };
    match verb.as_str() {
        "alert" => observed::signal(Source::Alert, Evidence::Process, rest),
        "kube" => observed::signal(Source::Kube, Evidence::Kube, rest),
        "chain" => observed::signal(Source::Chain, Evidence::Chain, rest),
        "process" => observed::signal(Source::Process, Evidence::Process, rest),
        "probe" => observed::signal(Source::Probe, Evidence::Process, rest),
        "site" => observed::signal(Source::Site, Evidence::Host, rest),
        "gate" => observed::gate(rest),
        "keys" => {
            let (name, options) = rest.split_first().ok_or("write: keys VALIDATOR active=8 slashed=0 silent=0")?;
            let option = |key: &str| options.iter().find_map(|word| word.strip_prefix(key)).map_or(Ok(0), number);
            let (active, slashed, silent) = (option("active=")?, option("slashed=")?, option("silent=")?);
            Ok(Statement::Keys { validator: validator(name)?, active, slashed, silent })
        }
        "maintenance" => {
            let [name, why, options @ ..] = rest else {
                return Err("write: maintenance VALIDATOR \"WHY\"|none [fresh=1m]".into());
            };
            let fresh = options.iter().find_map(|word| word.strip_prefix("fresh="));
            let fresh = fresh.map_or(Ok(Span::from_hours(24)), span)?;
            Ok(Statement::Maintenance { validator: validator(name)?, why: (why != "none").then(|| why.clone()), fresh })
        }
        "machines" | "foreign-machines" => {
            let (name, rest) = rest.split_first().ok_or("write: machines VALIDATOR running@0badc0de=101|none")?;
            let ours = verb == "machines";
            Ok(Statement::Machines { validator: validator(name)?, listed: all_listed(rest)?, ours })
        }
        "chain-finalises" => Ok(Statement::Chain(ChainHealth::Finalising)),
        "chain-stuck" => {
            let [epochs] = rest else { return Err("write: chain-stuck EPOCHS".into()) };
            Ok(Statement::Chain(ChainHealth::NotFinalising { epochs: number(epochs)? }))
        }
        "request" => request(rest),
        "answer" => {
            let (name, rest) = rest.split_first().ok_or("write: answer VALIDATOR ANSWER")?;
            Ok(Statement::ScriptedAnswer { validator: validator(name)?, answer: answer(rest)? })
        }
        "delivered" => {
            let [name] = rest else { return Err("write: delivered VALIDATOR".into()) };
            Ok(Statement::Delivered(validator(name)?))
        }
        "restart" => Ok(Statement::Restart),
        "clock-jump" => match rest {
            [] => Ok(Statement::ClockJump(Span::ZERO)),
            [by] => Ok(Statement::ClockJump(span(by.trim_start_matches('+'))?)),
            _ => Err("write: clock-jump [+2h|-2h]".into()),
        },
        "policy" => {
            policy(&mut Policy::default(), rest)?;
            Ok(Statement::Policy(rest.to_vec()))
        }
        "owner" => {
            let [name, owner] = rest else {
                return Err("write: owner VALIDATOR unknown|home|moving|cloud[=BOOT]".into());
            };
            let (owner, boot) = owner.split_once('=').unwrap_or((owner, "first"));
            let owner = match owner {
                "unknown" => Owner::Unknown,
                "home" => Owner::Home,
                "moving" => Owner::Moving { number: 2 },
                "cloud" => Owner::Cloud { number: 2, instance: 101.into(), boot: boot.into() },
                other => return Err(format!("an owner is unknown, home, moving or cloud, not '{other}'")),
            };
            Ok(Statement::Owner { validator: validator(name)?, owner })
        }
        "promotion" | "demotion" => observed::promotion(verb == "promotion", rest),
        "expect" => expect(rest).map(Statement::Expectation),
        other => Err(format!("no statement is called '{other}'")),
    }
}

fn request(words: &[String]) -> Result<Statement, String> {
    let [name, ask, options @ ..] = words else {
        return Err(
            "write: request VALIDATOR open|close|pause|resume|retain [for=2h] [id=…] [incident=…] [written=-24h]"
                .into(),
        );
    };
    let option = |key: &str| options.iter().find_map(|word| word.strip_prefix(key));
    let until = option("for=").map(span).transpose()?;
    let id = option("id=").map(str::to_owned);
    if !["open", "close", "pause", "resume", "retain"].contains(&ask.as_str()) {
        return Err(format!("'{ask}' cannot be asked for"));
    }
    let incident = option("incident=").map(str::to_owned);
    let written = option("written=").map_or(Ok(Span::ZERO), span)?;
    Ok(Statement::Request { validator: validator(name)?, id, ask: ask.clone(), until, incident, written })
}

fn answer(words: &[String]) -> Result<ScriptedAnswer, String> {
    let Some((verb, rest)) = words.split_first() else { return Err("an answer is missing".into()) };
    Ok(match verb.as_str() {
        "found" => ScriptedAnswer::Found(all_listed(rest)?),
        "created" => ScriptedAnswer::Created,
        "exists" => ScriptedAnswer::Exists,
        "out-of-stock" => ScriptedAnswer::OutOfStock,
        "quota" => ScriptedAnswer::Quota,
        "refused" => ScriptedAnswer::Refused,
        "refused-here" => ScriptedAnswer::RefusedHere,
        "unknown" => ScriptedAnswer::Unknown,
        "busy" => ScriptedAnswer::Busy,
        "found-without" => ScriptedAnswer::FoundWithout(rest.to_vec(), all_listed(rest.get(1..).unwrap_or_default())?),
        "gone" => ScriptedAnswer::Gone,
        "deleted" => ScriptedAnswer::Deleted,
        "untouchable" => ScriptedAnswer::Untouchable,
        "failed" => ScriptedAnswer::Failed,
        "console" => ScriptedAnswer::Console(rest.join("\n")),
        "disks" => ScriptedAnswer::Disks(rest.iter().filter(|word| *word != "none").cloned().collect()),
        "seen" => {
            let (kind, rest) = rest.split_first().ok_or("write: answer VALIDATOR seen running [report counter=1 …]")?;
            let (role, state) = machine(kind)?;
            let written = match rest.split_first() {
                None => Wrote::Nothing,
                Some((word, [])) if word == "unreadable" => Wrote::Unreadable,
                Some((word, [said])) if word == "starting" => Wrote::Starting(said.clone()),
                Some((word, fields)) if word == "report" => {
                    let pair = |word: &String| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
                    Wrote::Report(fields.iter().filter_map(pair).collect())
                }
                Some((word, _)) => {
                    return Err(format!("'report', 'unreadable' or 'starting \"TEXT\"' is expected, not '{word}'"));
                }
            };
            ScriptedAnswer::Seen { state, role, written }
        }
        other => return Err(format!("no answer is called '{other}'")),
    })
}

/// A machine in a list, with its number where it matters which one it is: `running=101`.
/// `KIND[@INCIDENT][=NUMBER]`, as `running`, `running=101` or `running@0badc0de=101`.
fn listed(word: &str) -> Result<ListedMachine, String> {
    let (kind, id) = match word.split_once('=') {
        Some((kind, id)) => (kind, Some(number(id)?)),
        None => (word, None),
    };
    let (kind, incident) = match kind.split_once('@') {
        Some((kind, incident)) => (kind, Some(incident.to_owned())),
        None => (kind, None),
    };
    let (role, state) = machine(kind)?;
    Ok(ListedMachine { role, state, incident, id })
}

fn all_listed(words: &[String]) -> Result<Vec<ListedMachine>, String> {
    words.iter().filter(|word| *word != "none").map(|word| listed(word)).collect()
}

fn machine(word: &str) -> Result<(Role, MachineState), String> {
    Ok(match word {
        "running" => (Role::Standby, MachineState::Running),
        "starting" => (Role::Standby, MachineState::Starting),
        "stopping" => (Role::Standby, MachineState::Stopping),
        "stopped" => (Role::Standby, MachineState::Stopped),
        "retained" => (Role::Retained, MachineState::Running),
        "promoted" => (Role::Promoted, MachineState::Running),
        "kept" => (Role::Promoted, MachineState::Stopped),
        other => {
            return Err(format!(
                "write running, starting, stopping, stopped, retained, promoted or kept, not '{other}'"
            ));
        }
    })
}

fn expect(words: &[String]) -> Result<Expectation, String> {
    if let [what, count] = words
        && what == "incidents"
    {
        return Ok(Expectation::Incidents(number(count)?));
    }
    let [name, what, rest @ ..] = words else {
        return Err("write: expect VALIDATOR phase|says|asked|created|mails|reminders …".into());
    };
    let name = validator(name)?;
    let text = rest.join(" ");
    let kinds = || rest.iter().filter(|word| *word != "none").cloned().collect();
    Ok(match what.as_str() {
        "phase" => Expectation::Phase(name, text),
        "says" => Expectation::Says(name, text),
        "asked" => Expectation::Asked(name, text),
        "created" => Expectation::Created(name, number(&text)?),
        "mails" => Expectation::Mails(name, kinds()),
        "reminders" => Expectation::Reminders(name, kinds()),
        other => return Err(format!("'{other}' cannot be expected")),
    })
}
