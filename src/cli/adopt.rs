//! `failover adopt`: the grant that lets home sign.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};

use super::{
    ConfigPath, Exit,
    out::{complain, say},
    signing::{Desk, GrantTerms, SignOptions},
};
use crate::{
    adapters::clock::SystemClock,
    assembly,
    config::Config,
    domain::{
        InstanceId, LedgerKey, Span, ValidatorId,
        gate::DEFAULT_GATE_TTL,
        human, one_line,
        ownership::{AdoptFacts, AdoptPlan, AdoptStep, Adoption, GrantPlace, KeyMachine, Session, SignedGrant},
        parse_span,
    },
    ports::{Machines as _, Scope},
    raw_clock,
    runtime::grants::{self, SessionError, SessionWait, SilenceWatch, session_of},
    sources,
};

/// As much of a reason or a place as is shown.
const LINE: usize = 300;
/// Of whatever fails after the session was raised.
const STOPPED: &str = "home is stopped, since its session's number is raised: repeat the same command with `--renew`";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  failover adopt eth-0 --key ~/.ssh/id_ed25519_sk --reason 'the first grant'
  failover adopt eth-0 --renew --key NEW --reason 'the old key leaves allowed_signers'
  failover adopt eth-0 --reason 'the first grant' --print grant.json    # sign on another machine, then:
  failover adopt eth-0 --signed grant.json
  failover adopt eth-0 --reason 'its disk burnt' --statement 'node-3 is off, and its disk is destroyed'

Uses your own Google credentials to see that no machine of the validator holds keys and runs.
Ends with 3 when it would not be safe.")]
pub(super) struct Options {
    /// Which validator.
    validator: String,
    /// The highest number that is known from elsewhere: a gate that has seen it names it.
    #[arg(long)]
    number: Option<u64>,
    /// Sign again although nothing is wrong: with another key, or to end a promotion that nobody carries out.
    #[arg(long)]
    renew: bool,
    /// States that the machine with this id, which the grant in force names, does not exist any more.
    #[arg(long, value_name = "INSTANCE_ID")]
    deleted: Option<u64>,
    /// States that nothing at home can sign with these keys and that nothing there comes back by itself: how, in your words.
    /// It is in the grant, stands in for all waiting and watching, and frees a session whose gate is gone for good.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    statement: Option<String>,
    /// For a session that is missing: the longest --gate-ttl that any gate of the validator had, or `run` if one of them
    /// continues without the ledger. So long it may have been confirmed.
    #[arg(long, value_name = "TTL|run", default_value = DEFAULT_GATE_TTL, value_parser = LongestTtl::parse)]
    longest_ttl: LongestTtl,
    #[command(flatten)]
    sign: SignOptions,
    #[command(flatten)]
    path: ConfigPath,
}

/// After how long a session that nobody can read any more is old.
#[derive(Clone, Copy, Debug)]
enum LongestTtl {
    /// A gate continues without the ledger: never.
    Run,
    Ttl(Duration),
}

impl LongestTtl {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "run" {
            return Ok(Self::Run);
        }
        let ttl = parse_span(text).map_err(|error| format!("{error}; or write `run`"))?;
        Duration::try_from(ttl).map(Self::Ttl).map_err(|_| format!("{} is below zero", human(ttl)))
    }

    fn old_after(self) -> Option<Duration> {
        match self {
            Self::Run => None,
            Self::Ttl(ttl) => Some(Session::old_with(ttl)),
        }
    }
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    let config = options.path.load(false)?;
    let desk = Desk::open(&config, &options.validator).await?;
    desk.needs_grants(&config)?;
    let (validator, ledger) = (&desk.validator, &*desk.ledger);
    let session = ledger.get(&LedgerKey::session(validator)).await?;
    let session = session.map(|stored| session_of(validator, &stored.bytes)).transpose().map_err(|why| anyhow!(why))?;
    let copy = grants::history(ledger, validator).await?.last().copied();
    let newest_copy = match copy {
        Some(number) => ledger.get(&LedgerKey::owner_history(validator, number)).await?,
        None => None,
    };
    let newest_copy = newest_copy.and_then(|stored| SignedGrant::parse(&stored.bytes).ok());
    // After the grant was read: a machine that starts later has another boot than the one it names.
    let found = machines(&config, validator).await;
    let deleted = options.deleted.map(InstanceId::from);
    let duties = sources::chain::duties(&config, validator);
    let facts = AdoptFacts {
        site: &config.site,
        grant: desk.signed.as_ref().map(|signed| &signed.grant),
        unverified: desk.verified.as_ref().and_then(|verified| verified.as_ref().err()).map(String::as_str),
        session: session.as_ref(),
        copy,
        newest_copy: newest_copy.as_ref().map(|signed| &signed.grant),
        known: options.number,
        renew: options.renew,
        machines: found.as_deref().map_err(String::as_str),
        deleted: deleted.as_ref(),
        stated: options.statement.is_some(),
        longest: options.longest_ttl.old_after(),
        watched: duties.as_ref().map(drop).map_err(String::as_str),
    };
    let signed = options.sign.read_signed()?;
    let plan = match &signed {
        None => facts.plan(),
        Some(signed) => facts.plan_with(signed.grant.number),
    };
    let (adoption, previous) = match plan {
        Ok(AdoptPlan::Sign { adoption, previous }) => (adoption, previous),
        Ok(AdoptPlan::Nothing { number }) => {
            say!("{validator}: home may sign, by grant {number}: nothing to do");
            return Ok(Exit::Done);
        }
        Err(refusal) => {
            complain!("refused: {refusal}");
            return Ok(Exit::Refused);
        }
    };
    let number = adoption.number;
    options.sign.is_complete()?;
    show(&facts, validator, &adoption);
    let owner = GrantPlace::Home { site: config.site.clone() };
    let terms = GrantTerms { statement: options.statement.clone(), ..desk.terms(owner, number, previous) };
    if options.sign.print(&desk.rules, &terms)? {
        return Ok(Exit::Done);
    }
    if !options.sign.confirm(&terms)? {
        complain!("that is not its name: nothing was changed");
        return Ok(Exit::Refused);
    }
    // Before anything is changed, if nothing has to be waited for; a passphrase or a touch may be long in coming.
    let grant = match adoption.next() {
        AdoptStep::Sign | AdoptStep::Create | AdoptStep::Free => {
            Some(options.sign.sign(&desk.rules, &terms, signed.clone())?)
        }
        AdoptStep::Terminate | AdoptStep::Raise | AdoptStep::Wait(_) | AdoptStep::Silence(_) => {
            options.sign.may_sign(&desk.rules, &terms, signed.as_ref())?;
            None
        }
    };
    // What follows a raise leaves home stopped.
    let stops = matches!(adoption.next(), AdoptStep::Raise | AdoptStep::Wait(_)) && session.is_some();
    let told = |result: anyhow::Result<SignedGrant>| if stops { result.context(STOPPED) } else { result };
    let watch = duties.as_ref().ok().map(|duties| SilenceWatch::new(duties.clone(), Arc::new(SystemClock)));
    match grants::prepare_session(ledger, validator, adoption, watch, raw_clock::now, progress()).await {
        Ok(()) => {}
        Err(refusal @ (SessionError::Signing { .. } | SessionError::NotAsStated)) => {
            complain!("refused: {refusal}");
            return Ok(Exit::Refused);
        }
        Err(error) => return Err(error.into()),
    }
    // The wait may have taken hours.
    let found = machines(&config, validator).await;
    let facts = AdoptFacts { machines: found.as_deref().map_err(String::as_str), ..facts };
    if let Err(refusal) = facts.no_machine_holds_keys() {
        complain!("refused: {refusal}");
        if stops {
            complain!("{STOPPED}");
        }
        return Ok(Exit::Refused);
    }
    let grant = match grant {
        Some(grant) => grant,
        None => told(options.sign.sign(&desk.rules, &terms, signed))?,
    };
    told(desk.replace(&grant).await.map(|()| grant))?;
    say!("{validator}: grant {number} is in force: home ({}) may sign", config.site);
    Ok(Exit::Done)
}

fn show(facts: &AdoptFacts<'_>, validator: &ValidatorId, adoption: &Adoption<'_>) {
    let number = adoption.number;
    match facts.grant {
        None => say!("{validator}: there is no grant"),
        Some(grant) => {
            let place = match &grant.owner {
                GrantPlace::Home { site } => format!("home ({site})"),
                GrantPlace::Cloud { zone, instance_id, .. } => format!("the machine {instance_id} in {zone}"),
            };
            say!("{validator}: grant {} says that {} signs", grant.number, one_line(&place, LINE));
        }
    }
    say!("  grant {number} will say that home ({}) signs", facts.site);
    if facts.stated {
        say!("  your statement, that nothing at home can sign and nothing there comes back by itself, will be in it");
    }
    match adoption.next() {
        AdoptStep::Create => say!("  the session is made, free"),
        AdoptStep::Free => say!("  the session is freed by your statement"),
        AdoptStep::Sign if adoption.keeps => say!("  the session stays as it is: what runs at home continues"),
        AdoptStep::Sign => say!("  the session has that number, and nobody holds it"),
        AdoptStep::Raise | AdoptStep::Wait(_) => {
            say!("  the session's number is raised to {number}: what runs at home under it stops, and is waited for");
            say!("  if this command ends after that, repeat it with `--renew`")
        }
        AdoptStep::Silence(epochs) => {
            let after = human(Span::try_from(adoption.longest.unwrap_or_default()).unwrap_or(Span::MAX));
            say!(
                "  the session is missing: {epochs} whole epochs without a duty are watched, and {after} waited at least"
            );
            say!("  (--longest-ttl: the longest that a gate of it may sign without the ledger); then it is made, free");
        }
        AdoptStep::Terminate => say!("  its machine has to be TERMINATED first"),
    }
    for KeyMachine { machine, is_terminated } in facts.machines.unwrap_or_default() {
        let state = if *is_terminated { "TERMINATED" } else { "not TERMINATED" };
        let role = format!("{:?}", machine.role).to_lowercase();
        say!("  its machine {} ({role}) is {state}", machine.instance);
    }
}

/// One line that changes on a terminal, and a line whenever something else is waited for elsewhere.
fn progress() -> impl FnMut(SessionWait) {
    let (shown, mut last) = (stderr().is_terminal(), String::new());
    move |wait| {
        let within = |left| human(Span::try_from(left).unwrap_or(Span::MAX));
        let (text, changes) = match wait {
            SessionWait::OldIn(left) => {
                ("the session is held".to_owned(), format!("; free in {} at the latest", within(left)))
            }
            SessionWait::MayStart(left) => (
                "a gate that was confirmed before the session went may still sign".to_owned(),
                format!("; for {} at most", within(left)),
            ),
            SessionWait::GivenBack => (
                "the session is held until its gate gives it back (on_ledger_loss: run); if that is gone for good, end \
                 this and use --statement"
                    .to_owned(),
                String::new(),
            ),
            SessionWait::Silence { more, trouble } => {
                let trouble = trouble.map_or_else(String::new, |why| format!(" (the last was not judged: {why})"));
                (format!("the chain has to show no duty of these keys: {more} whole epochs more{trouble}"), String::new())
            }
            SessionWait::Ledger => ("the ledger does not answer".to_owned(), String::new()),
            SessionWait::Barred => (
                "the ledger refuses you: log in again beside this command (gcloud auth application-default login)".to_owned(),
                String::new(),
            ),
        };
        if shown {
            // Nobody reads it if it cannot be written.
            let line = crate::domain::visible_line(&(text + &changes));
            let _ = write!(stderr(), "\r\x1b[2K{line}").and_then(|()| stderr().flush());
        } else if last != text {
            complain!("{text}{changes}");
            last = text;
        }
    }
}

/// Every machine of the validator, with the operator's own rights.
async fn machines(config: &Config, validator: &ValidatorId) -> Result<Vec<KeyMachine>, String> {
    let cloud = assembly::cloud::operators_cloud(config).await.map_err(|error| format!("{error:#}"))?;
    let Some(cloud) = cloud else { return Ok(Vec::new()) };
    let found = cloud.find(&Scope::Validator(validator.clone())).await.map_err(|error| error.to_string())?;
    let mut machines = Vec::new();
    for machine in found {
        let is_terminated = cloud.is_terminated(&machine.instance).await.map_err(|error| error.to_string())?;
        machines.extend(is_terminated.map(|is_terminated| KeyMachine { machine, is_terminated }));
    }
    Ok(machines)
}
