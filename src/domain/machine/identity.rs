//! Which chain a standby has to follow, and what its report says of that.
//!
//! It judges the name of the chain only: how far the node is on it is [`super::ready`]'s matter and [`super::stuck`]'s.

use crate::domain::{ChainView, OtherChain, Policy, Report, ValidatorId, one_line};

/// The chain a standby has to follow, as far as it can be judged here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected<'a> {
    /// The one that is watched here, by its genesis root; `None` before a beacon node has told it.
    Watched(Option<&'a str>),
    /// Another one, whose nodes say how far they are; by its name, if its nodes report one.
    Read(Option<&'a str>),
    /// Another one, whose nodes' own probes say only whether they are well.
    Probed,
}

/// What a report says of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The expected one, or there is nothing to compare.
    Fits,
    /// It cannot be told yet, in words. Not ready, and no trouble either.
    Unknown(&'static str),
    /// Another one: its genesis root or its name, made printable.
    Other(String),
}

impl<'a> Expected<'a> {
    pub(super) fn of(id: &ValidatorId, chain: &'a ChainView, policy: &'a Policy) -> Self {
        match policy.other_chains.get(id) {
            None => Self::Watched(chain.genesis_root.as_deref()),
            Some(OtherChain::Read { chain_id }) => Self::Read(chain_id.as_deref()),
            Some(OtherChain::Probed) => Self::Probed,
        }
    }

    /// Whether peers and the age of a head are counted on it.
    pub(super) fn is_counted(self) -> bool {
        match self {
            Self::Watched(_) | Self::Read(_) => true,
            Self::Probed => false,
        }
    }

    /// A node that has just started does not know its chain yet, so silence is never *another chain*.
    pub(super) fn judge(self, report: &Report) -> Identity {
        let (fits, said) = match self {
            Self::Probed | Self::Read(None) => return Identity::Fits,
            Self::Watched(None) => return Identity::Unknown("it is not known here which chain it should follow"),
            Self::Watched(Some(root)) => (root.eq_ignore_ascii_case(&report.genesis_root), &report.genesis_root),
            Self::Read(Some(name)) => {
                let Some(said) = &report.chain_id else { return Identity::Unknown(NOT_SAID) };
                // A name, not a number: `Testnet-1` and `testnet-1` are two chains.
                (said == name, said)
            }
        };
        match (fits, said.is_empty()) {
            (true, _) => Identity::Fits,
            (false, true) => Identity::Unknown(NOT_SAID),
            (false, false) => Identity::Other(one_line(said, 80)),
        }
    }
}

const NOT_SAID: &str = "it does not say yet which chain it follows";

#[cfg(test)]
mod tests {
    use super::*;

    fn named(chain_id: Option<&str>) -> Report {
        Report { genesis_root: "0xAB".into(), chain_id: chain_id.map(str::to_owned), ..Report::default() }
    }

    #[test]
    fn a_chain_that_is_read_is_known_by_its_name_letter_for_letter() {
        let expected = Expected::Read(Some("testnet-1"));
        assert_eq!(expected.judge(&named(Some("testnet-1"))), Identity::Fits);
        for other in ["Testnet-1", "testnet-10"] {
            assert_eq!(expected.judge(&named(Some(other))), Identity::Other(other.into()));
        }
        for silent in [None, Some("")] {
            assert_eq!(expected.judge(&named(silent)), Identity::Unknown(NOT_SAID), "silence is no other chain");
        }
        assert_eq!(Expected::Read(None).judge(&named(Some("anything"))), Identity::Fits, "nothing to compare with");
    }

    #[test]
    fn the_watched_chain_is_known_by_its_root_whatever_the_case_of_its_digits() {
        assert_eq!(Expected::Watched(Some("0xab")).judge(&named(None)), Identity::Fits);
        assert_eq!(Expected::Watched(Some("0xcd")).judge(&named(None)), Identity::Other("0xAB".into()));
        assert!(matches!(Expected::Watched(None).judge(&named(None)), Identity::Unknown(_)));
        let unknown = Report::default();
        assert_eq!(Expected::Watched(Some("0xab")).judge(&unknown), Identity::Unknown(NOT_SAID));
    }

    #[test]
    fn what_a_machine_calls_its_chain_is_printable_and_short() {
        let long = format!("a\u{1b}[2J{}", "b".repeat(200));
        let Identity::Other(said) = Expected::Read(Some("x")).judge(&named(Some(&long))) else { panic!("it differs") };
        assert!(said.starts_with("a [2Jb") && said.chars().count() == 80, "{said}");
    }
}
