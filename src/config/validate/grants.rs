//! Who may sign grants, and for which chain.

use super::{Checker, GrantSettings};
use crate::{
    config::written::{self, ConfigFile, KindName},
    domain::{Span, chain::chain_name, gates::HELD_DAYS, ownership::AllowedSigners},
    files,
};

impl Checker<'_> {
    pub(super) fn grants(&mut self, written: &written::Grants) -> GrantSettings {
        let path = self.checks.base.join(&written.allowed_signers.value);
        let place = written.allowed_signers.place;
        if self.checks.files {
            let read = files::read_text(&path, files::MOST).map_err(|error| format!("it cannot be read: {error}"));
            match read.and_then(|text| AllowedSigners::parse(&text).map_err(|error| error.to_string())) {
                Ok(signers) => {
                    for problem in signers.problems() {
                        self.warn(place, format!("grants.allowed_signers {}: {problem}", path.display()));
                    }
                }
                Err(why) => self.wrong(place, format!("grants.allowed_signers {}: {why}", path.display())),
            }
        }
        let fence_records = written.fence_records.span();
        if !(Span::from_mins(1)..=Span::from_hours(24 * HELD_DAYS)).contains(&fence_records) {
            let message = format!(
                "grants.fence_records is {}: write one minute to {HELD_DAYS} days, since no older duty has to be explained",
                written.fence_records.value
            );
            self.wrong(written.fence_records.place, message);
        }
        let silent_for = written.silent_for.span();
        if !(Span::from_mins(1)..=Span::from_hours(24)).contains(&silent_for) {
            let message = format!(
                "grants.silent_for is {}: write one minute to one day, longer than anything at home takes to start",
                written.silent_for.value
            );
            self.wrong(written.silent_for.place, message);
        }
        let allow_untouched = written.allow_untouched;
        GrantSettings { allowed_signers: path, allow_untouched, fence_records, silent_for }
    }

    /// The chain of this validator's grants. `None`: it has none here.
    pub(super) fn chain(&mut self, validator: &written::ValidatorSection, written: &ConfigFile) -> Option<String> {
        if !validator.signs.value {
            return self.no_chain(validator);
        }
        let place = validator.name.place;
        let chain = match (validator.kind.value, &validator.chain) {
            (KindName::Ethereum, Some(chain)) => {
                self.wrong(chain.place, "chain goes with 'kind: generic'; write ethereum.genesis_root instead");
                None
            }
            (KindName::Ethereum, None) => {
                let root = written.ethereum.as_ref().and_then(|section| section.genesis_root.as_ref());
                if root.is_none() && written.grants.is_some() {
                    self.wrong(
                        place,
                        "there are grants, but no ethereum.genesis_root: a grant is for one chain; add it",
                    );
                }
                root.map(|root| root.to_ascii_lowercase())
            }
            (KindName::Generic, Some(chain)) => {
                let name = chain_name(&chain.value);
                if name.is_none() {
                    let message = format!(
                        "chain '{}' has to be a genesis validators root, or an id of 1 to 64 letters, digits, '-', '_' \
                         and '.', as its gate takes it",
                        chain.value
                    );
                    self.wrong(chain.place, message);
                }
                name.or_else(|| Some(chain.value.clone()))
            }
            (KindName::Generic, None) => None,
        };
        if let Some(gate) = &validator.gate {
            if written.grants.is_none() {
                self.wrong(gate.url.place, "there is a gate, but no grants section: add grants.allowed_signers");
            }
            if chain.is_none() && validator.kind.value == KindName::Generic {
                self.wrong(gate.url.place, "there is a gate, but no chain that its grants are for: add chain");
            }
        }
        chain
    }

    /// What signs nothing has nothing that a grant could be about.
    fn no_chain(&mut self, validator: &written::ValidatorSection) -> Option<String> {
        let place = validator.signs.place;
        if validator.kind.value == KindName::Ethereum {
            self.wrong(place, "signs: false goes with 'kind: generic'; who has public keys signs with them: remove it");
        }
        for (what, place) in [
            ("a chain that its grants are for", validator.chain.as_ref().map(|chain| chain.place)),
            ("a gate", validator.gate.as_ref().map(|gate| gate.url.place)),
        ] {
            if let Some(place) = place {
                self.wrong(place, format!("it signs nothing (signs: false), and there is {what}: remove one of them"));
            }
        }
        None
    }
}
