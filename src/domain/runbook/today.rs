//! What this version of the program does of a promotion, in one place. Whoever changes that changes this text; a test in
//! `cli` goes red when `promote` can be executed and this says that it cannot.

/// For the beginning of a page.
pub const PROMOTION_TODAY: &str = "TODAY: `failover promote` takes the standby, stops home's gate, waits, and refuses until it is proved that \
     home cannot sign; then you move the keys by hand, as below. `promote --abort` takes it back, `failover demote` \
     brings home back. Both need grants and a gate at home (docs/gate.md). Without them nobody can log in to a \
     standby, and only you keep two from signing: repair home, or use a machine of your own with a synced beacon \
     node and your client's own program, in the same order, and cut its power before home starts again.";
