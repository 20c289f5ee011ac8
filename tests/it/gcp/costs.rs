//! The table of costs in `docs/gcp.md` is what the program computes.

use failover::domain::{PriceTable, Rung, Span};

/// Machine, disk, size and what such a standby is for.
const KINDS: [(&str, &str, u32, &str); 10] = [
    ("n2-standard-8", "pd-balanced", 2048, "Ethereum mainnet, as configured by default"),
    ("n2-standard-8", "pd-ssd", 2048, "Ethereum mainnet, syncs fastest"),
    ("c3d-standard-8", "pd-balanced", 2048, "Ethereum mainnet"),
    ("t2d-standard-8", "pd-balanced", 2048, "Ethereum mainnet"),
    ("e2-standard-8", "pd-balanced", 2048, "Ethereum mainnet, on shared processors"),
    ("n2-standard-4", "pd-balanced", 1024, "an Ethereum test network"),
    ("n2-standard-8", "pd-ssd", 1024, "a chain of CometBFT with a large state"),
    ("e2-standard-8", "pd-balanced", 250, "Cardano mainnet (24 GB of memory)"),
    ("e2-standard-4", "pd-balanced", 500, "a smaller chain"),
    ("e2-standard-4", "pd-balanced", 100, "a relay, or a rehearsal"),
];

fn table() -> String {
    let prices = PriceTable::builtin();
    let mut text =
        "| standby | machine and disk | a day | three days, its run limit | its disks after that, a month |\n\
                    |---|---|---|---|---|\n"
            .to_owned();
    for (machine_type, disk, gb, what) in KINDS {
        let rung = Rung { zone: "us-central1-a".into(), machine_type: machine_type.into() };
        let priced = |hours| prices.price(&rung, disk, gb, 50, Span::from_hours(hours));
        let (day, whole) = (priced(24), priced(72));
        let (day, until, after) = (day.at_most.unwrap(), whole.at_most.unwrap(), whole.stopped_per_month.unwrap());
        text += &format!("| {what} | {machine_type}, {gb} GB {disk} | {day} | {until} | {after} |\n");
    }
    text
}

#[test]
fn the_costs_in_the_docs_are_what_the_program_computes() {
    let docs = include_str!("../../../docs/gcp.md");
    assert!(docs.contains(&table()), "docs/gcp.md has to say:\n{}", table());
    let as_of = &PriceTable::builtin().sources[0].as_of;
    assert!(docs.contains(as_of.as_str()), "the day of the prices: {as_of}");
}
