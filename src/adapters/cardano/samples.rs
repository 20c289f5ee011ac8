//! The lines of a Prometheus page that a Cardano node wrote: names without what is the same in all of them, and values.
//! It does not check the page, and takes no line for another one's.
//!
//! It is no parser of the whole format, because two kinds of line are all that is needed. The crates that are would bring
//! `chrono`, `itertools` and `regex`'s large half or a grammar with them, and refuse a whole page for one odd line.

use std::collections::BTreeMap;

/// What all names of a node begin with, unless its configuration has another `TraceOptionMetricsPrefix`, or none.
const PREFIX: &str = "cardano_node_metrics_";
/// What they may end with: the kind of the value, which says nothing new.
const SUFFIXES: [&str; 3] = ["_int", "_real", "_counter"];
/// Numbers above this are not all exact where a page gives them with an exponent; slots reach it in 285 million years.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// One value, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample<'a> {
    labels: &'a str,
    pub(super) value: &'a str,
}

impl<'a> Sample<'a> {
    /// A whole number that is not negative; also one with an exponent.
    pub(super) fn whole(&self) -> Option<u64> {
        if let Ok(number) = self.value.parse() {
            return Some(number);
        }
        let number: f64 = self.value.parse().ok()?;
        ((0.0..=EXACT).contains(&number) && number.fract() == 0.0).then_some(number as u64)
    }

    /// What is written behind this label. A label whose text has a quotation mark in it is cut there.
    pub(super) fn label(&self, name: &str) -> Option<&'a str> {
        let pairs = self.labels.split(',').map(str::trim);
        let value = pairs.filter_map(|pair| pair.strip_prefix(name)).find_map(|rest| rest.strip_prefix("=\""))?;
        value.split('"').next()
    }
}

pub(super) struct Samples<'a>(BTreeMap<&'a str, Sample<'a>>);

impl<'a> Samples<'a> {
    pub(super) fn of(page: &'a str) -> Self {
        let mut all = BTreeMap::new();
        for (name, sample) in page.lines().filter_map(sample) {
            // Of two lines of one name, which a page must not have, the first counts.
            all.entry(name).or_insert(sample);
        }
        Self(all)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.0.keys().copied()
    }

    pub(super) fn get(&self, name: &str) -> Option<Sample<'a>> {
        self.0.get(name).copied()
    }
}

/// `name value`, `name{labels} value`, either with a moment behind it.
fn sample(line: &str) -> Option<(&str, Sample<'_>)> {
    let line = line.trim();
    let line = line.strip_prefix(PREFIX).unwrap_or(line);
    if !line.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once('}')?,
        None => ("", rest),
    };
    let value = rest.split_ascii_whitespace().next()?;
    let name = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    Some((name, Sample { labels, value }))
}
