//! Who takes part, what people may do, and which rule is missing.

use failover::domain::ownership::OnLedgerLoss;

/// A rule, or a proviso of safety, that is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    MissingSessionIsFree,
    OldOneTickEarlier,
    NumberIsNotLookedAt,
    DeadlineCountsFromTheReply,
    DeadlineIsNotJudgedAtTheStart,
    ExtensionCountsFromTheLatestRequest,
    SessionIsGivenBackBeforeTheChildEnded,
    /// Two machines have one state folder, and both resume.
    SharedFolderResumes,
    /// They do not resume, and one gives back a session under their id after the time in which it is its own for
    /// certain.
    SharedFolderGivesBackLater,
    LockIsNotInherited,
    PromotionDoesNotWait,
    PromotionDoesNotRaise,
    RaiseIsNotOverTheVersionItCountsFrom,
    GrantIsNotForOneBoot,
    LostGrantIsCarried,
    DemotionDoesNotSeeItTerminated,
    DemotionReadsTheGrantAfterTheStop,
    RegrantReplacesAnyGrant,
    AdoptionFreesTheSession,
    AdoptionDoesNotSeeItTerminated,
    SilenceAloneReplacesAMissingSession,
    FreeIsNotOverTheVersionThatWasRead,
    TheOneThatContinuesGetsOld,
    DeletionProtectionIsLeftOut,
    // Provisos.
    GateAndKeeperBothHang,
    GateAndKeeperGoneAtOnce,
    LedgerIsPutBack,
    StatementIsFalse,
    // Of liveness.
    AdoptionRaisesAboveTheSession,
    AbortIsNotSigned,
}

impl Mutant {
    pub fn is_of_liveness(self) -> bool {
        matches!(self, Self::AdoptionRaisesAboveTheSession | Self::AbortIsNotSigned)
    }
}

/// Who takes part and where a path ends, so that there are finitely many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    pub gates: usize,
    /// Whether the state folder is on a local disk, so that only one gate has it and the id in it.
    pub local_folder: bool,
    pub on_loss: OnLedgerLoss,
    /// A process at home that has keys and no gate.
    pub bare: bool,
    /// So many people adopt, if they do.
    pub operators: usize,
    pub promotes: bool,
    pub adopts: bool,
    pub regrants: bool,
    pub states: bool,
    /// The cloud owns the keys at the beginning.
    pub in_cloud: bool,
    /// A signed grant that lost reaches the machine after one that won.
    pub lost: bool,
    /// A watcher deletes the machine, perhaps late.
    pub watcher: bool,
    pub grants: usize,
    pub boots: u8,
    /// Requests and replies under way at once.
    pub requests: usize,
    pub mutant: Option<Mutant>,
}

impl Setting {
    /// Two processes of one home.
    pub const HOME: Self = Self {
        gates: 2,
        local_folder: true,
        on_loss: OnLedgerLoss::Stop,
        bare: false,
        operators: 0,
        promotes: true,
        adopts: false,
        regrants: false,
        states: false,
        in_cloud: false,
        lost: false,
        watcher: false,
        grants: 1,
        boots: 0,
        requests: 3,
        mutant: None,
    };
    /// The same with a state folder that two machines may have at once.
    pub const NETWORK_FOLDER: Self = Self { local_folder: false, ..Self::HOME };
    /// They continue without the ledger, so gate and keeper may be gone and the child lives on.
    pub const CONTINUES: Self = Self { on_loss: OnLedgerLoss::Run, ..Self::HOME };
    /// One process at home, the cloud, and people who promote, demote and take back, beside each other.
    pub const PROMOTION: Self = Self { gates: 1, operators: 1, grants: 3, boots: 1, requests: 2, ..Self::HOME };
    /// The same; what they have signed in vain is carried late.
    pub const TWO_PEOPLE: Self = Self { operators: 2, grants: 2, boots: 0, lost: true, ..Self::PROMOTION };
    /// A watcher looks at the machine and deletes it later.
    pub const WATCHED: Self = Self { watcher: true, grants: 2, boots: 0, ..Self::PROMOTION };
    pub const IN_CLOUD: Self = Self { in_cloud: true, grants: 4, ..Self::PROMOTION };
    /// The cloud signs; one demotes while another signs for a new boot.
    pub const REGRANT: Self = Self { operators: 2, grants: 4, boots: 2, regrants: true, lost: true, ..Self::IN_CLOUD };
    /// The session is deleted, and somebody adopts the validator, beside a promotion.
    pub const ADOPTION: Self =
        Self { gates: 2, grants: 2, boots: 0, adopts: true, operators: 1, requests: 2, ..Self::HOME };
    /// The same from the cloud.
    pub const ADOPTION_FROM_CLOUD: Self =
        Self { gates: 1, boots: 1, grants: 4, in_cloud: true, regrants: true, ..Self::ADOPTION };
    /// Home continues without the ledger, and what frees it is a release or a statement.
    pub const STATEMENT: Self = Self { on_loss: OnLedgerLoss::Run, states: true, grants: 3, ..Self::PROMOTION };
    /// The same where the statement frees the session that is held, or makes the one that is missing.
    pub const STATED_ADOPTION: Self = Self { gates: 2, adopts: true, boots: 0, grants: 2, ..Self::STATEMENT };
    /// Home without a gate: the fence is the statement.
    pub const BARE: Self = Self { gates: 0, bare: true, states: true, boots: 2, grants: 6, ..Self::PROMOTION };
    /// There and back again.
    pub const ROUNDS: Self = Self { grants: 5, boots: 2, requests: 1, ..Self::PROMOTION };
    /// All of them; `make model` explores it, and an ordinary run as much as fits into its time.
    pub const EVERYBODY: Self =
        Self { gates: 2, operators: 2, grants: 3, boots: 1, adopts: true, regrants: true, lost: true, ..Self::HOME };

    pub fn without(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    pub fn lacks(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}
