//! An export of a signer's slashing protection, read as a stream: of each key only what is judged is kept.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, SeqAccess, Visitor},
};

use crate::domain::{PublicKey, chain::genesis_root};

/// How many keys a file may have: far above what a house has, and a file that repeats them ends there.
const MAX_KEYS: usize = 100_000;

/// The genesis validators root of a chain: `0x` and 64 hexadecimal digits, in small letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisRoot(String);

impl FromStr for GenesisRoot {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        genesis_root(text).map(Self).ok_or("a genesis validators root is 0x and 64 hexadecimal digits")
    }
}

impl fmt::Display for GenesisRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a file says. Whether it may be imported is [`super::lint()`]'s to judge.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Export {
    pub metadata: Metadata,
    #[serde(default)]
    pub data: Keys,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    #[serde(deserialize_with = "version")]
    pub interchange_format_version: String,
    pub genesis_validators_root: String,
}

/// The keys in a file, each once; how often a key is there is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(pub BTreeMap<PublicKey, ExportedKey>);

/// The most that one key has signed, by an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportedKey {
    /// How often the file has it; once is right.
    pub entries: u32,
    pub blocks: u64,
    pub attestations: u64,
    pub max_slot: Option<u64>,
    pub max_source: Option<u64>,
    pub max_target: Option<u64>,
    /// A slot with two blocks that differ.
    pub double_block: Option<u64>,
    /// A target with two votes that differ.
    pub double_vote: Option<u64>,
    /// A vote, source and target, that is surrounded by another one.
    pub surrounded: Option<(u64, u64)>,
    /// A vote whose source is after its target.
    pub backwards: Option<(u64, u64)>,
    /// Numbers that are not in quotes, which some importers refuse.
    pub bare_numbers: u64,
}

fn version<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let Number { value, is_bare } = Number::deserialize(from)?;
    Ok(if is_bare { format!("{value} (without quotes)") } else { value.to_string() })
}

/// A number in quotes, as the format wants it, or a bare one.
#[derive(Clone, Copy)]
struct Number {
    value: u64,
    is_bare: bool,
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number in quotes")
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number { value, is_bare: true })
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let value = digits.then(|| text.parse().ok()).flatten();
                value.map(|value| Number { value, is_bare: false }).ok_or_else(|| E::custom("it is not a number"))
            }
        }
        from.deserialize_any(Reader)
    }
}

/// As much of a signing root as tells two apart; `None` when the file has none.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Root(Option<[u8; 16]>);

impl Root {
    fn of(text: Option<&str>) -> Self {
        use sha2::Digest as _;
        Self(text.map(|text| {
            let digest = sha2::Sha256::digest(text.to_ascii_lowercase());
            std::array::from_fn(|at| digest[at])
        }))
    }

    /// Two messages without a root may be one and the same, but no importer takes them for that.
    fn differs(self, other: Self) -> bool {
        self.0.is_none() || self != other
    }
}

#[derive(Deserialize)]
struct Entry {
    #[serde(deserialize_with = "public_key")]
    pubkey: PublicKey,
    #[serde(default)]
    signed_blocks: Blocks,
    #[serde(default)]
    signed_attestations: Attestations,
}

fn public_key<'de, D: Deserializer<'de>>(from: D) -> Result<PublicKey, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(from)?;
    text.parse().map_err(D::Error::custom)
}

#[derive(Deserialize)]
struct Block {
    slot: Number,
    #[serde(default)]
    signing_root: Option<String>,
}

#[derive(Deserialize)]
struct Attestation {
    source_epoch: Number,
    target_epoch: Number,
    #[serde(default)]
    signing_root: Option<String>,
}

/// What is left of a list of blocks.
#[derive(Default)]
struct Blocks {
    count: u64,
    max: Option<u64>,
    double: Option<u64>,
    bare: u64,
}

impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (mut blocks, mut seen) = (Self::default(), Vec::new());
        each(from, |block: Block| {
            blocks.count += 1;
            blocks.bare += u64::from(block.slot.is_bare);
            seen.push((block.slot.value, Root::of(block.signing_root.as_deref())));
        })?;
        blocks.max = seen.iter().map(|(slot, _)| *slot).max();
        blocks.double = double(&mut seen);
        Ok(blocks)
    }
}

/// What is left of a list of attestations.
#[derive(Default)]
struct Attestations {
    count: u64,
    max_source: Option<u64>,
    max_target: Option<u64>,
    double: Option<u64>,
    surrounded: Option<(u64, u64)>,
    backwards: Option<(u64, u64)>,
    bare: u64,
}

impl<'de> Deserialize<'de> for Attestations {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (mut all, mut votes, mut targets) = (Self::default(), Vec::new(), Vec::new());
        each(from, |vote: Attestation| {
            let (source, target) = (vote.source_epoch.value, vote.target_epoch.value);
            all.count += 1;
            all.bare += u64::from(vote.source_epoch.is_bare) + u64::from(vote.target_epoch.is_bare);
            votes.push((source, target));
            targets.push((target, Root::of(vote.signing_root.as_deref())));
        })?;
        all.max_source = votes.iter().map(|vote| vote.0).max();
        all.max_target = votes.iter().map(|vote| vote.1).max();
        all.backwards = votes.iter().find(|(source, target)| source > target).copied();
        all.double = double(&mut targets);
        all.surrounded = surrounded(&mut votes);
        Ok(all)
    }
}

/// A number that two different messages have.
fn double(messages: &mut [(u64, Root)]) -> Option<u64> {
    messages.sort_by_key(|(number, _)| *number);
    messages.windows(2).find(|pair| pair[0].0 == pair[1].0 && pair[0].1.differs(pair[1].1)).map(|pair| pair[0].0)
}

/// A vote that begins after another one began and ends before that one ended.
fn surrounded(votes: &mut [(u64, u64)]) -> Option<(u64, u64)> {
    votes.sort_unstable();
    // The furthest target of all votes whose source is smaller than that of the present group.
    let (mut before, mut furthest, mut source) = (None, None, None);
    for (of, target) in votes.iter().copied() {
        if source != Some(of) {
            (before, source) = (furthest, Some(of));
        }
        if before.is_some_and(|before| target < before) {
            return Some((of, target));
        }
        furthest = furthest.max(Some(target));
    }
    None
}

/// Reads a list without keeping it.
fn each<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D, take: impl FnMut(T)) -> Result<(), D::Error> {
    struct Each<T, F>(F, std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for Each<T, F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(item) = list.next_element()? {
                (self.0)(item);
            }
            Ok(())
        }
        /// Some exporters write `null` for an empty list.
        fn visit_unit<E: Error>(self) -> Result<(), E> {
            Ok(())
        }
    }
    from.deserialize_any(Each(take, std::marker::PhantomData))
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Keys;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of keys")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Keys, A::Error> {
                let mut keys = Keys::default();
                while let Some(entry) = list.next_element::<Entry>()? {
                    keys.0.entry(entry.pubkey).or_default().add(entry.signed_blocks, entry.signed_attestations);
                    if keys.0.len() > MAX_KEYS {
                        while list.next_element::<IgnoredAny>()?.is_some() {}
                        return Err(A::Error::custom(format!("it has more than {MAX_KEYS} keys")));
                    }
                }
                Ok(keys)
            }
            fn visit_unit<E: Error>(self) -> Result<Keys, E> {
                Ok(Keys::default())
            }
        }
        from.deserialize_any(Reader)
    }
}

impl ExportedKey {
    fn add(&mut self, blocks: Blocks, votes: Attestations) {
        self.entries = self.entries.saturating_add(1);
        self.blocks += blocks.count;
        self.attestations += votes.count;
        self.max_slot = self.max_slot.max(blocks.max);
        self.max_source = self.max_source.max(votes.max_source);
        self.max_target = self.max_target.max(votes.max_target);
        self.double_block = self.double_block.or(blocks.double);
        self.double_vote = self.double_vote.or(votes.double);
        self.surrounded = self.surrounded.or(votes.surrounded);
        self.backwards = self.backwards.or(votes.backwards);
        self.bare_numbers += blocks.bare + votes.bare;
    }
}
