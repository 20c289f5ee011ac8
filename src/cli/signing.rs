//! Signing a grant with the operator's own key, by `ssh-keygen`: a file, an agent or a hardware key. No key is read here.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::{IsTerminal as _, Read as _, Write as _, stderr, stdin},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};

use super::{keygen, out::say};
use crate::{
    assembly,
    config::Config,
    domain::{
        Time, ValidatorId,
        ownership::{AllowedSigners, Grant, GrantPlace, NAMESPACE, SignedGrant, SshKey, VerifiedGrant},
    },
    files,
    ports::{Ledger, Stored},
    runtime::grants::{self, GrantRules},
};

/// Larger than any signature or grant.
pub(super) const MOST: u64 = 64 * 1024;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct SignOptions {
    /// Why; it is in the grant.
    #[arg(short, long)]
    reason: Option<String>,
    /// Your own key: its file, or with an agent or a hardware key its public half.
    #[arg(long, env = "FAILOVER_SIGNING_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// Your name in allowed_signers. If missing, the only one that the key has there.
    #[arg(long)]
    by: Option<String>,
    /// Write what is to be signed to this file, for a key on another machine, and change nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["signed", "key"])]
    print: Option<PathBuf>,
    /// Use this file of an earlier `--print`, and its signature in FILE.sig.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["reason", "key", "by"])]
    signed: Option<PathBuf>,
    /// Do not ask for the validator's name.
    #[arg(long)]
    yes: bool,
}

/// What a grant says beside who signs it, when, and why.
pub(super) struct GrantTerms {
    pub(super) validator: ValidatorId,
    pub(super) chain: String,
    pub(super) owner: GrantPlace,
    pub(super) number: u64,
    pub(super) previous: Option<String>,
    /// That nothing at home can sign, in the operator's words.
    pub(super) statement: Option<String>,
    /// Digest of the record of the promotion that led to it.
    pub(super) evidence: Option<String>,
}

impl GrantTerms {
    fn are_of(&self, grant: &Grant) -> bool {
        let Self { validator, chain, owner, number, previous, statement: _, evidence: _ } = self;
        (validator, chain, owner, number, previous)
            == (&grant.validator, &grant.chain, &grant.owner, &grant.number, &grant.previous)
            && grant.reason.ends_with(&self.stated())
    }

    /// How the reason ends.
    fn stated(&self) -> String {
        self.statement
            .as_ref()
            .map_or_else(String::new, |text| format!("; I state that nothing at home can sign: {text}"))
    }
}

/// A grant that was signed before, elsewhere.
pub(super) fn read_signed(path: &Path) -> anyhow::Result<SignedGrant> {
    let name = path.display();
    let bytes = files::read(path, MOST).with_context(|| format!("{name} cannot be read"))?;
    let grant: Grant =
        serde_json::from_slice(&bytes).with_context(|| format!("{name} is no grant that `--print` has written"))?;
    if grant.bytes() != bytes {
        bail!("{name} was changed since `--print` has written it: print and sign it again");
    }
    let file = with_more(path, ".sig");
    let signature = files::read_text(&file, MOST).with_context(|| {
        format!("{} cannot be read: `ssh-keygen -Y sign -n {NAMESPACE} -f KEY {name}` writes it", file.display())
    })?;
    Ok(SignedGrant { grant, signature })
}

impl SignOptions {
    pub(super) fn prints_to(&self) -> Option<&Path> {
        self.print.as_deref()
    }

    pub(super) fn read_signed(&self) -> anyhow::Result<Option<SignedGrant>> {
        self.signed.as_deref().map(read_signed).transpose()
    }

    /// Fails before anything is changed if there is nothing to sign with.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn is_complete(&self) -> anyhow::Result<()> {
        if self.signed.is_some() {
            return Ok(());
        }
        if self.reason().is_none() {
            bail!("--reason is missing: it is in the grant, for whoever reads it in a year");
        }
        if self.key.is_none() && self.print.is_none() {
            bail!(
                "--key is missing: name your own key (or set FAILOVER_SIGNING_KEY), or use --print to sign on another \
                 machine"
            );
        }
        Ok(())
    }

    /// What is to be signed, as it would be at this moment.
    ///
    /// # Errors
    /// Nobody knows who signs.
    pub(super) fn grant(&self, rules: &GrantRules, terms: &GrantTerms) -> anyhow::Result<Grant> {
        let signers = rules.signers().map_err(|why| anyhow!(why))?;
        Ok(Grant {
            validator: terms.validator.clone(),
            chain: terms.chain.clone(),
            owner: terms.owner.clone(),
            number: terms.number,
            previous: terms.previous.clone(),
            issued_at: Time::now(),
            by: self.signer(&signers)?,
            reason: self.reason.clone().unwrap_or_default() + &terms.stated(),
            evidence: terms.evidence.clone(),
        })
    }

    /// Why, as the operator said it.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty())
    }

    /// Says it for the operator, who has said it before.
    pub(super) fn with_reason(self, reason: &str) -> Self {
        let reason = self.reason().map_or_else(|| reason.to_owned(), str::to_owned);
        Self { reason: Some(reason), ..self }
    }

    /// Who signs, as far as the operator has said it.
    pub(super) fn by(&self) -> Option<&str> {
        self.by.as_deref()
    }

    /// Whether there is anything to sign with.
    pub(super) fn can_sign(&self) -> bool {
        self.key.is_some() || self.print.is_some() || self.signed.is_some()
    }

    /// `--print`: writes what is to be signed. `true` if that was asked for.
    ///
    /// # Errors
    /// A file that is there already.
    pub(super) fn print(&self, rules: &GrantRules, terms: &GrantTerms) -> anyhow::Result<bool> {
        let Some(path) = &self.print else { return Ok(false) };
        let (name, grant) = (path.display(), self.grant(rules, terms)?);
        let file = fs::OpenOptions::new().write(true).create_new(true).open(path);
        let mut file = file.with_context(|| format!("{name} cannot be made; name a file that is not there"))?;
        file.write_all(&grant.bytes()).with_context(|| format!("{name} cannot be written"))?;
        say!("what is to be signed is in {name}; nothing was changed. Where your key is:");
        say!("  ssh-keygen -Y sign -n {NAMESPACE} -f KEY {name}");
        say!("and then here the same command with `--signed {name}` in place of `--print` and `--reason`");
        Ok(true)
    }

    /// Signs, and checks the signature with what a gate will check it with. Nothing is written.
    ///
    /// # Errors
    /// Why it would be refused.
    pub(super) fn sign(
        &self,
        rules: &GrantRules,
        terms: &GrantTerms,
        signed: Option<SignedGrant>,
    ) -> anyhow::Result<SignedGrant> {
        let grant = match &signed {
            Some(signed) => signed.grant.clone(),
            None => self.grant(rules, terms)?,
        };
        self.sign_exactly(rules, terms, signed, grant)
    }

    /// The same for a grant whose bytes were shown.
    ///
    /// # Errors
    /// Why it would be refused.
    pub(super) fn sign_exactly(
        &self,
        rules: &GrantRules,
        terms: &GrantTerms,
        signed: Option<SignedGrant>,
        grant: Grant,
    ) -> anyhow::Result<SignedGrant> {
        let signed = match signed {
            Some(signed) => {
                if !terms.are_of(&signed.grant) {
                    bail!(
                        "the ledger has changed since this grant was printed, or its statement is another: print and sign it \
                         again; nothing was changed"
                    );
                }
                signed
            }
            None => {
                let signature = keygen::sign(self.key.as_deref().unwrap_or(Path::new("")), &grant.bytes())?;
                SignedGrant { grant, signature }
            }
        };
        match rules.verify(&terms.validator, signed.clone()) {
            Ok(_) => Ok(signed),
            Err(why) => bail!("the signature is refused, so no grant was written: {why}"),
        }
    }

    /// What can be known about the signature before home is stopped: for a key that is a plain file, or in an agent, it
    /// is tried. One that asks for a passphrase or a touch is not: it would ask twice.
    ///
    /// # Errors
    /// Why it would be refused.
    pub(super) fn may_sign(
        &self,
        rules: &GrantRules,
        terms: &GrantTerms,
        signed: Option<&SignedGrant>,
    ) -> anyhow::Result<()> {
        if let Some(signed) = signed {
            return self.sign(rules, terms, Some(signed.clone())).map(drop);
        }
        self.grant(rules, terms)?;
        match &self.key {
            Some(key) => keygen::try_out(key, &known(key, &rules.signers().map_err(|why| anyhow!(why))?)?),
            None => Ok(()),
        }
    }

    /// Who the operator is in this file.
    fn signer(&self, signers: &AllowedSigners) -> anyhow::Result<String> {
        let names: BTreeSet<&str> = match &self.key {
            Some(key) => signers.names_of(&known(key, signers)?).into_iter().flatten().collect(),
            None => signers.signers().iter().flat_map(|it| it.principals.iter().map(String::as_str)).collect(),
        };
        let all = || names.iter().copied().collect::<Vec<_>>().join(", ");
        match (&self.by, names.first()) {
            (Some(by), _) if names.contains(by.as_str()) => Ok(by.clone()),
            (Some(by), _) if self.key.is_some() => {
                bail!("you say --by {by}; the key that you name is allowed for {}", all())
            }
            (Some(by), _) => bail!("allowed_signers does not name {by}, only {}: say who you are there", all()),
            (None, Some(name)) if names.len() == 1 => Ok((*name).to_owned()),
            (None, _) => bail!("which one are you in allowed_signers: {}? Say it with --by", all()),
        }
    }

    /// Whether the operator means it.
    ///
    /// # Errors
    /// Nothing can be asked. Nobody states anything through a pipe.
    pub(super) fn confirm(&self, terms: &GrantTerms) -> anyhow::Result<bool> {
        self.confirm_to("sign", terms)
    }

    /// The same for something else than the signature.
    ///
    /// # Errors
    /// As [`Self::confirm`].
    pub(super) fn confirm_to(&self, purpose: &str, terms: &GrantTerms) -> anyhow::Result<bool> {
        if self.yes {
            return Ok(true);
        }
        if terms.statement.is_some() && !stdin().is_terminal() {
            bail!(
                "a statement needs a terminal, where you type the validator's name; or --yes, if you have typed it before"
            );
        }
        let mut out = stderr();
        write!(out, "type the validator's name to {purpose}: ").and_then(|()| out.flush())?;
        let line = stdin().lock().bytes().take(64).map_while(Result::ok).take_while(|byte| *byte != b'\n');
        let typed: Vec<u8> = line.collect();
        if !stdin().is_terminal() {
            say!("");
        }
        Ok(typed.trim_ascii() == terms.validator.as_str().as_bytes())
    }
}

fn with_more(path: &Path, more: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(more);
    name.into()
}

/// The key that this file is, as allowed_signers has it.
fn known(key: &Path, signers: &AllowedSigners) -> anyhow::Result<SshKey> {
    let fingerprint = keygen::fingerprint(key)?;
    let found = signers.signers().iter().find(|signer| signer.key.fingerprint() == fingerprint);
    found.map(|signer| signer.key.clone()).with_context(|| {
        format!(
            "your key {fingerprint} is not in allowed_signers: add it there (of a kind that signs grants: ed25519, or a \
             hardware key), or use another one"
        )
    })
}

/// What a command about grants begins with.
pub(super) struct Desk {
    pub(super) validator: ValidatorId,
    pub(super) rules: GrantRules,
    pub(super) chain: String,
    pub(super) ledger: std::sync::Arc<dyn Ledger>,
    /// The grant in force.
    pub(super) stored: Option<Stored>,
    pub(super) signed: Option<SignedGrant>,
    pub(super) verified: Option<Result<VerifiedGrant, String>>,
}

impl Desk {
    /// # Errors
    /// What is not configured, or cannot be read.
    pub(super) async fn open(config: &Config, validator: &str) -> anyhow::Result<Self> {
        let validator = super::ask::known(config, validator)?;
        let rules = assembly::grant_rules(config);
        // Nothing is ever signed for one that signs nothing.
        let chain = if config.validators.iter().any(|known| known.name == validator && !known.signs) {
            String::new()
        } else {
            rules.signers().map_err(|why| anyhow!(why))?;
            rules.chain(&validator).map_err(|why| anyhow!(why))?.to_owned()
        };
        if let Some(path) = assembly::missing_ledger(config) {
            bail!("there is no ledger at {}: start `failover serve` first, which makes it", path.display());
        }
        let ledger = assembly::ledger(config)?;
        let stored = ledger.get(&crate::domain::LedgerKey::owner(&validator)).await?;
        let signed = stored.as_ref().map(|stored| SignedGrant::parse(&stored.bytes)).transpose().context(
            "the grant in force cannot be read: put back a good copy of it, so that it is known which place it names",
        )?;
        let verified = signed.clone().map(|signed| rules.verify(&validator, signed));
        Ok(Self { validator, rules, chain, ledger, stored, signed, verified })
    }

    /// For what only signs.
    ///
    /// # Errors
    /// The validator signs nothing.
    pub(super) fn needs_grants(&self, config: &Config) -> anyhow::Result<()> {
        let validator = &self.validator;
        if config.validators.iter().any(|known| known.name == *validator && !known.signs) {
            bail!("{validator} signs nothing (signs: false), so no grant is needed: remove `signs: false` if it does");
        }
        Ok(())
    }

    /// Writes a grant that was verified, over exactly the one that was read.
    ///
    /// # Errors
    /// It is in force nowhere then, or that is not known.
    pub(super) async fn replace(&self, grant: &SignedGrant) -> anyhow::Result<()> {
        Ok(grants::replace(&*self.ledger, &self.validator, self.stored.as_ref(), grant).await?)
    }

    pub(super) fn terms(&self, owner: GrantPlace, number: u64, previous: Option<String>) -> GrantTerms {
        GrantTerms {
            validator: self.validator.clone(),
            chain: self.chain.clone(),
            owner,
            number,
            previous,
            statement: None,
            evidence: None,
        }
    }
}
