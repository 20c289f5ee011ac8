//! What `promote` and `demote` share: they carry the steps out and print how it goes.

mod evidence;
mod shown;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, anyhow, bail};
use async_trait::async_trait;

use evidence::ConfiguredEvidence;
use shown::{Shown, how_to_continue};

use super::{
    Exit,
    out::complain,
    signing::{Desk, GrantTerms, SignOptions},
};
use crate::{
    adapters::{clock::SystemClock, gce::Gce},
    assembly,
    config::Config,
    domain::{
        LedgerKey, Time, ValidatorId,
        ownership::{GrantPlace, SignedGrant},
        promotion::{NotedOverride, PromotionEffect, PromotionKind, PromotionOrder, PromotionRecord, PromotionState},
    },
    ports::Ledger,
    promotion::{
        EpochWatch, GrantDraft, GrantSigner, GrantSigning, LOOK_EVERY, PromotionDeps, PromotionExecutor,
        PromotionProgress, PromotionTask, PromotionWay,
        evidence::{EvidenceSources, OperatorsMachines},
    },
    raw_clock,
    runtime::grants::{self, GrantRules},
};

/// As a shell reports a command that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

#[derive(Debug, clap::Args)]
pub(super) struct CarryOptions {
    /// Do it. Without this nothing is changed.
    #[arg(long, conflicts_with_all = ["resume", "abort"])]
    pub(super) execute: bool,
    /// Continue what is open, from whatever machine it was begun.
    #[arg(long, conflicts_with = "abort")]
    pub(super) resume: bool,
    /// Take back what is open. It needs a signature only where home was stopped for it.
    #[arg(long)]
    pub(super) abort: bool,
    /// Print as JSON; while it is carried out, one object a line.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) sign: SignOptions,
}

impl CarryOptions {
    /// The way that is to be carried out, if any.
    pub(super) fn way(&self, forward: PromotionWay) -> Option<PromotionWay> {
        match () {
            () if self.abort => Some(PromotionWay::Back),
            () if self.execute || self.resume => Some(forward),
            () => None,
        }
    }
}

/// What is asked for beside the way.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) until: Option<PromotionEffect>,
    pub(super) statement: Option<String>,
    pub(super) overrides: Vec<NotedOverride>,
    /// Where the watermark is written, too.
    pub(super) save: Option<PathBuf>,
}

/// # Errors
/// What prevents it from beginning, or from continuing.
pub(super) async fn carry(
    config: &Config,
    name: &str,
    way: PromotionWay,
    options: &CarryOptions,
    wishes: Wishes,
) -> anyhow::Result<Exit> {
    let desk = Desk::open(config, name).await?;
    let validator = &desk.validator;
    let open = last_record(&*desk.ledger, validator).await?.filter(|record| record.state.is_open());
    let is_known = match way {
        PromotionWay::Back => open.is_some(),
        PromotionWay::ToCloud | PromotionWay::ToHome => open.is_some() || is_done(&desk, way).await?,
    };
    if (options.resume || options.abort) && !is_known {
        complain!("refused: nothing is open; `failover grants {validator}` shows who may sign");
        return Ok(Exit::Refused);
    }
    let reason = open.as_ref().map_or("", |record| record.reason.as_str());
    let sign = if reason.is_empty() || options.sign.read_signed()?.is_some() {
        options.sign.clone()
    } else {
        options.sign.clone().with_reason(reason)
    };
    let known = config.validators.iter().find(|known| known.name == *validator);
    let known = known.context("the configuration lost a validator")?;
    let order = PromotionOrder {
        validator: validator.clone(),
        by: sign.by().map_or_else(user, str::to_owned),
        reason: sign.reason().unwrap_or(reason).to_owned(),
        until: wishes.until.or_else(|| open.as_ref()?.until),
        statement: wishes.statement,
        overrides: wishes.overrides,
        signs_nothing: !known.signs,
        forges: known.forges(),
    };
    let cloud = assembly::cloud::operators_cloud(config).await?;
    let cloud = cloud.context("there is no `compute` section: there is no machine to promote or to stop")?;
    let variables = match way {
        PromotionWay::ToCloud => assembly::promoted::variables(config, known)?,
        PromotionWay::ToHome | PromotionWay::Back => String::new(),
    };
    if way != PromotionWay::Back && known.signs {
        sign.is_complete()?;
        may_sign(&desk, &sign, order.statement.as_ref())?;
    }
    // Found out only at the signature, they would leave home stopped.
    if options.execute {
        if let Some(file) = [wishes.save.as_deref(), sign.prints_to()].into_iter().flatten().find(|file| file.exists())
        {
            bail!("{} is there already: remove it, or name another file", file.display());
        }
        if open.is_none() && sign.read_signed()?.is_some() {
            bail!(
                "--signed is for a grant that an open promotion has printed: begin without it, then --resume with it"
            );
        }
    }
    if way == PromotionWay::ToHome {
        same_home(config, &desk).await?;
    }
    if options.execute && !begins(&desk, way, &sign, &order)? {
        complain!("that is not its name: nothing was changed");
        return Ok(Exit::Refused);
    }
    let project = config.compute.as_ref().map(|compute| compute.project.clone()).unwrap_or_default();
    let work = Work { config, desk: &desk, cloud: &cloud, sign: &sign, project: &project, variables: &variables };
    work.run(PromotionTask { way, order }, options.json, wishes.save.as_deref()).await
}

fn user() -> String {
    std::env::var("USER").unwrap_or_else(|_| "operator".to_owned())
}

async fn last_record(ledger: &dyn Ledger, validator: &ValidatorId) -> anyhow::Result<Option<PromotionRecord>> {
    let Some(stored) = ledger.get(&LedgerKey::promotion(validator)).await? else { return Ok(None) };
    grants::promotion_of(validator, &stored.bytes).map(Some).map_err(|why| anyhow!(why))
}

/// Whether this way was gone to its end, and nothing has come after it: then it is looked at again.
async fn is_done(desk: &Desk, way: PromotionWay) -> anyhow::Result<bool> {
    let Some(record) = last_record(&*desk.ledger, &desk.validator).await? else { return Ok(false) };
    let Some(Ok(grant)) = &desk.verified else { return Ok(false) };
    let (kind, is_clouds) = (record.kind, matches!(grant.grant().owner, GrantPlace::Cloud { .. }));
    let is_of_this_way = match way {
        PromotionWay::ToCloud => kind == PromotionKind::ToCloud && is_clouds,
        PromotionWay::ToHome => kind == PromotionKind::ToHome && !is_clouds,
        PromotionWay::Back => false,
    };
    Ok(is_of_this_way && record.state == PromotionState::Done)
}

/// A grant for another site would let nobody sign: no gate of that name is there.
async fn same_home(config: &Config, desk: &Desk) -> anyhow::Result<()> {
    let chain = grants::chain(&*desk.ledger, &desk.rules, &desk.validator, Time::now()).await?;
    let home = chain.grants.iter().rev().find_map(|row| match &row.owner {
        Some(GrantPlace::Home { site }) => Some(site),
        Some(GrantPlace::Cloud { .. }) | None => None,
    });
    match home.filter(|home| **home != config.site) {
        Some(home) => bail!("home is the site {home}, and this configuration is of {}: use home's", config.site),
        None => Ok(()),
    }
}

/// What can be known of the signature before home is stopped for it.
fn may_sign(desk: &Desk, sign: &SignOptions, statement: Option<&String>) -> anyhow::Result<()> {
    if sign.read_signed()?.is_some() {
        return Ok(());
    }
    let owner = GrantPlace::Home { site: String::new() };
    let terms = GrantTerms { statement: statement.cloned(), ..desk.terms(owner, 1, None) };
    sign.may_sign(&desk.rules, &terms, None)
}

/// The operator types the validator's name before anything is changed.
fn begins(desk: &Desk, way: PromotionWay, sign: &SignOptions, order: &PromotionOrder) -> anyhow::Result<bool> {
    let validator = &desk.validator;
    match way {
        PromotionWay::ToCloud => complain!(
            "{validator}: the standby becomes yours; then HOME STOPS SIGNING, and after the wait you sign a grant for it"
        ),
        PromotionWay::ToHome => {
            complain!("{validator}: THE MACHINE IN THE CLOUD STOPS; then you sign a grant for home")
        }
        PromotionWay::Back => {}
    }
    let owner = GrantPlace::Home { site: String::new() };
    let terms = GrantTerms { statement: order.statement.clone(), ..desk.terms(owner, 1, None) };
    sign.confirm_to("begin", &terms)
}

struct Work<'a> {
    config: &'a Config,
    desk: &'a Desk,
    cloud: &'a Gce,
    sign: &'a SignOptions,
    project: &'a str,
    variables: &'a str,
}

impl Work<'_> {
    async fn run(&self, task: PromotionTask, json: bool, save: Option<&Path>) -> anyhow::Result<Exit> {
        let (validator, way) = (self.desk.validator.clone(), task.way);
        let cloud = OperatorsMachines { machines: self.cloud, shapes: self.cloud };
        let ledger = &*self.desk.ledger;
        let sources = EvidenceSources::new(self.config, &validator, ledger, Some(cloud));
        let evidence = ConfiguredEvidence { sources, rules: &self.desk.rules, save };
        let signer =
            TerminalSigner { sign: self.sign.clone(), rules: self.desk.rules.clone(), chain: self.desk.chain.clone() };
        let shown = Shown::new(json);
        let report = |progress: &PromotionProgress| shown.progress(progress);
        let deps = PromotionDeps {
            ledger,
            rules: &self.desk.rules,
            cloud: self.cloud,
            evidence: &evidence,
            signer: &signer,
            clock: &SystemClock,
            raw: &raw_clock::now,
            report: &report,
            site: &self.config.site,
            project: self.project,
            variables: self.variables,
            look_every: LOOK_EVERY,
        };
        let signs = !task.order.signs_nothing && way != PromotionWay::Back;
        let mut executor = PromotionExecutor::new(deps, task);
        let silence = self.watch_epochs(&validator, signs);
        let ended = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => {
                shown.line_ends();
                complain!("interrupted; what was begun is in the ledger. {}", how_to_continue(&validator, way));
                // Somebody may still be asked at the terminal, in a thread that nothing else ends.
                std::process::exit(INTERRUPTED);
            }
            ended = executor.run() => ended,
            never = silence => never,
        };
        shown.line_ends();
        let state = executor.state().map(ToOwned::to_owned);
        Ok(match ended {
            Ok(outcome) => shown.outcome(&validator, way, &outcome, state.as_deref()),
            Err(error) => shown.error(&validator, way, &error, state.as_deref()),
        })
    }
}

impl Work<'_> {
    /// Epochs as they are seen from here, from the first moment on: nobody can be asked about them later. It never ends.
    async fn watch_epochs<T>(&self, validator: &ValidatorId, signs: bool) -> T {
        let ledger = self.desk.ledger.clone();
        match signs.then(|| EpochWatch::start(self.config, validator, ledger, Arc::new(SystemClock))) {
            Some(Ok(mut watch)) => loop {
                watch.step().await;
            },
            Some(Err(why)) => {
                complain!("epochs are not watched from here: {why}");
                std::future::pending().await
            }
            None => std::future::pending().await,
        }
    }
}

/// Asks at the terminal, in a thread of its own: a person takes their time.
struct TerminalSigner {
    sign: SignOptions,
    rules: GrantRules,
    chain: String,
}

#[async_trait]
impl GrantSigner for TerminalSigner {
    async fn sign(&self, draft: &GrantDraft) -> Result<GrantSigning, String> {
        let (sign, rules) = (self.sign.clone(), self.rules.clone());
        let terms = GrantTerms {
            validator: draft.validator.clone(),
            chain: self.chain.clone(),
            owner: draft.owner.clone(),
            number: draft.number,
            previous: Some(draft.previous.clone()),
            statement: draft.statement.clone(),
            evidence: Some(draft.evidence.clone()),
        };
        let asked = tokio::task::spawn_blocking(move || ask_and_sign(&sign, &rules, &terms)).await;
        asked.map_err(|error| error.to_string())?.map_err(|error| format!("{error:#}"))
    }
}

fn ask_and_sign(sign: &SignOptions, rules: &GrantRules, terms: &GrantTerms) -> anyhow::Result<GrantSigning> {
    if !sign.can_sign() {
        bail!(
            "--key is missing: home was stopped, so taking this back needs one signed grant; repeat the command with --key \
             and --reason, or with --print to sign on another machine"
        );
    }
    if sign.print(rules, terms)? {
        return Ok(GrantSigning::Printed);
    }
    let signed: Option<SignedGrant> = sign.read_signed()?;
    let grant = match &signed {
        Some(signed) => signed.grant.clone(),
        None => sign.grant(rules, terms)?,
    };
    // On standard error, beside the question: it is no result.
    complain!("to be signed, exactly these bytes:\n{}", String::from_utf8_lossy(&grant.bytes()));
    if !sign.confirm(terms)? {
        return Ok(GrantSigning::Declined);
    }
    sign.sign_exactly(rules, terms, signed, grant).map(Box::new).map(GrantSigning::Signed)
}
