//! What may happen to a watcher, as values that can be drawn at random and made smaller.

use failover::domain::{Evidence, Source, Step, Verdict};
use proptest::prelude::*;

/// One thing that may happen next. The first number is the validator's, counted round.
#[derive(Clone, Debug)]
pub enum Op {
    /// Time passes, and anyone who asked for it is woken.
    Wait(u16),
    /// Time passes while the cloud answers everything as well as it can.
    Serve(u16),
    Signal(u8, Source, Verdict, Evidence, About),
    /// Two independent sources say down.
    Down(u8),
    /// The chain shows it at work, and so does its process.
    Up(u8),
    Keys {
        of: u8,
        active: u8,
        slashed: u8,
    },
    ChainStuck(bool),
    Maintenance(u8, bool),
    Gate(u8, u8),
    Owner(u8, u8),
    Ask(u8, Asked),
    /// The last request a second time.
    AskAgain,
    /// How the action under way continues.
    Answer(u8, Fate),
    /// An outcome of this process a second time, as after a confusion of tasks.
    Repeat(u8, u8),
    /// A crash; nobody watches for so many seconds, and what was under way happens or not.
    Restart {
        down_for: u16,
        happens: bool,
    },
    /// Another watcher leads, whose clock differs by so many seconds.
    Lease(i16),
    /// The same watcher comes back with another mode.
    Mode(bool),
    /// The wall clock is set.
    ClockStep(i32),
    /// A kind of action fails from now on.
    Break(Step, Failing),
    /// Everything works again.
    Repair,
    /// Whether machines that are created from now on hang in their boot.
    Hanging(bool),
    /// The regular list of all its machines comes, of this ledger or of another.
    List(u8, bool),
    /// Something happens to one of the validator's machines.
    Machine(u8, Happens),
}

/// What time a signal is about, and until when it is fresh.
#[derive(Clone, Copy, Debug)]
pub enum About {
    /// So many seconds from now.
    Near(i16),
    /// The first moment there is, and fresh until then: stale at once.
    First,
    /// It began before all time and is fresh forever.
    Always,
    /// The last moment there is.
    Last,
}

#[derive(Clone, Copy, Debug)]
pub enum Asked {
    Open,
    Close,
    Pause {
        minutes: u16,
    },
    Resume,
    Retain,
    /// It names an incident that is not open.
    CloseAnother,
    /// It lay in the ledger for a day.
    OpenLate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Works,
    /// It happens, and nobody hears of it.
    ReplyLost,
    /// It does not happen.
    Fails,
    OutOfStock,
    Quota,
    /// It happens only after the next look.
    Late,
    /// The cloud says that it has happened.
    Lies,
}

/// How a kind of action fails for as long as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    Fails,
    OutOfStock,
    Quota,
    ReplyLost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happens {
    Vanishes,
    /// A process that could sign runs.
    Signs,
    /// It hangs in its boot, if it has not reported yet.
    Hangs,
    /// Somebody promotes it with other tools.
    Promoted,
    /// Its operator keeps it.
    Retained,
    /// Its operator keeps it no longer.
    GivenBack,
    Stops,
    Starts,
    Reboots,
    Writes(Lie),
}

/// What a machine writes where its report belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    Honest,
    OtherIncident,
    EarlierBoot,
    LastCounter,
    OldCounter,
    Highest,
    Lowest,
    Huge,
    Unreadable,
    Starting,
    Unsynced,
    Hidden,
    OtherChain,
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        Just(Source::Alert),
        Just(Source::Kube),
        Just(Source::Chain),
        Just(Source::Process),
        Just(Source::Probe)
    ]
}

fn evidence() -> impl Strategy<Value = Evidence> {
    prop_oneof![Just(Evidence::Host), Just(Evidence::Kube), Just(Evidence::Chain), Just(Evidence::Process)]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => Just(Verdict::Down), 2 => Just(Verdict::Up), 1 => Just(Verdict::Unknown), 1 => Just(Verdict::Partial)
    ]
}

fn about() -> impl Strategy<Value = About> {
    prop_oneof![
        20 => (-400i16..100).prop_map(About::Near), 1 => Just(About::First), 1 => Just(About::Always),
        1 => Just(About::Last)
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        3 => Just(Asked::Open), 2 => Just(Asked::Close),
        2 => (1u16..600).prop_map(|minutes| Asked::Pause { minutes }), 1 => Just(Asked::Resume),
        1 => Just(Asked::Retain), 1 => Just(Asked::CloseAnother), 1 => Just(Asked::OpenLate)
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Works), 1 => Just(Fate::ReplyLost), 1 => Just(Fate::Fails), 1 => Just(Fate::OutOfStock),
        1 => Just(Fate::Quota), 1 => Just(Fate::Late), 1 => Just(Fate::Lies)
    ]
}

fn lie() -> impl Strategy<Value = Lie> {
    prop_oneof![
        3 => Just(Lie::Honest), 1 => Just(Lie::OtherIncident), 1 => Just(Lie::EarlierBoot), 1 => Just(Lie::LastCounter),
        1 => Just(Lie::OldCounter), 1 => Just(Lie::Highest), 1 => Just(Lie::Lowest), 1 => Just(Lie::Huge),
        1 => Just(Lie::Unreadable), 1 => Just(Lie::Starting), 1 => Just(Lie::Unsynced), 1 => Just(Lie::Hidden),
        1 => Just(Lie::OtherChain)
    ]
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        2 => Just(Happens::Vanishes), 2 => Just(Happens::Signs), 4 => Just(Happens::Hangs),
        1 => Just(Happens::Promoted), 1 => Just(Happens::Retained), 1 => Just(Happens::GivenBack),
        1 => Just(Happens::Stops), 1 => Just(Happens::Starts), 2 => Just(Happens::Reboots),
        8 => lie().prop_map(Happens::Writes)
    ]
}

fn failing() -> impl Strategy<Value = Failing> {
    prop_oneof![
        2 => Just(Failing::Fails), 1 => Just(Failing::OutOfStock), 1 => Just(Failing::Quota),
        1 => Just(Failing::ReplyLost)
    ]
}

fn kind() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Find),
        Just(Step::Create),
        Just(Step::Observe),
        Just(Step::Delete),
        Just(Step::Console),
        Just(Step::Disks)
    ]
}

/// Seconds by which a clock is set: mostly what a time server corrects, sometimes days.
fn clock_step() -> impl Strategy<Value = i32> {
    prop_oneof![2 => -7200i32..7200, 1 => -500_000i32..500_000]
}

pub fn op() -> impl Strategy<Value = Op> {
    let of = || 0u8..3;
    prop_oneof![
        6 => (1u16..900).prop_map(Op::Wait),
        1 => (900u16..15_000).prop_map(Op::Wait),
        4 => (60u16..3600).prop_map(Op::Serve),
        4 => (of(), source(), verdict(), evidence(), about()).prop_map(|(v, s, d, e, a)| Op::Signal(v, s, d, e, a)),
        4 => of().prop_map(Op::Down),
        2 => of().prop_map(Op::Up),
        1 => (of(), 0u8..4, proptest::bool::weighted(0.1)).prop_map(|(of, active, slashed)| Op::Keys {
            of, active, slashed: u8::from(slashed) * (1 + active % 2)
        }),
        1 => proptest::bool::weighted(0.2).prop_map(Op::ChainStuck),
        1 => (of(), proptest::bool::weighted(0.3)).prop_map(|(v, seen)| Op::Maintenance(v, seen)),
        1 => (of(), 0u8..6).prop_map(|(v, says)| Op::Gate(v, says)),
        1 => (of(), 0u8..8).prop_map(|(v, owner)| Op::Owner(v, owner)),
        2 => (of(), proptest::bool::weighted(0.8)).prop_map(|(v, ours)| Op::List(v, ours)),
        3 => (of(), asked()).prop_map(|(v, asked)| Op::Ask(v, asked)),
        1 => Just(Op::AskAgain),
        12 => (of(), fate()).prop_map(|(v, fate)| Op::Answer(v, fate)),
        1 => (of(), 0u8..8).prop_map(|(v, which)| Op::Repeat(v, which)),
        1 => (prop_oneof![Just(0u16), 0u16..7200], any::<bool>())
            .prop_map(|(down_for, happens)| Op::Restart { down_for, happens }),
        1 => (-300i16..300).prop_map(Op::Lease),
        1 => proptest::bool::weighted(0.8).prop_map(Op::Mode),
        2 => clock_step().prop_map(Op::ClockStep),
        1 => (kind(), failing()).prop_map(|(kind, failing)| Op::Break(kind, failing)),
        1 => Just(Op::Repair),
        1 => any::<bool>().prop_map(Op::Hanging),
        4 => (of(), happens()).prop_map(|(v, happens)| Op::Machine(v, happens)),
    ]
}

/// Whose chain a standby is on: ours, or one that is judged by its probes or by what its agent counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    Ours,
    Probed,
    Read,
}

/// When the watcher's clock begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Normal,
    /// A day before the last moment that can be written.
    Last,
    /// A day after the first one.
    First,
}

/// What the sources say while everything settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    Silent,
    Down,
    Up,
}

/// One random life of a watcher.
#[derive(Clone, Debug)]
pub struct Case {
    pub armed: bool,
    pub simulated: bool,
    pub budget: bool,
    pub chains: [Chain; 3],
    pub start: Start,
    pub sources: Sources,
    /// For so many hours it settles.
    pub hours: u8,
    pub ops: Vec<Op>,
}

pub fn case() -> impl Strategy<Value = Case> {
    let chain = || prop_oneof![2 => Just(Chain::Ours), 1 => Just(Chain::Probed), 1 => Just(Chain::Read)];
    let start = prop_oneof![8 => Just(Start::Normal), 1 => Just(Start::Last), 1 => Just(Start::First)];
    let sources = prop_oneof![Just(Sources::Silent), Just(Sources::Down), Just(Sources::Up)];
    let setting = (
        proptest::bool::weighted(0.9),
        proptest::bool::weighted(0.1),
        proptest::bool::weighted(0.1),
        [chain(), chain(), chain()],
        start,
        sources,
        prop_oneof![3 => Just(6u8), 1 => Just(30u8)],
    );
    (setting, proptest::collection::vec(op(), 1..100)).prop_map(|(setting, ops)| {
        let (armed, simulated, budget, chains, start, sources, hours) = setting;
        Case { armed, simulated, budget, chains, start, sources, hours, ops }
    })
}
