//! The six stories. Each is told with the gate and without: the same events in the same order. Without it the story ends
//! where two may sign, and the chain says what became of that.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{bail, ensure};
use failover::domain::gate::WaitKind;
use futures::{FutureExt as _, future::BoxFuture};

use super::{
    lane::{FAKETIME, Lane, PODS},
    network::EPOCH,
};
use crate::two::proxy::Wire;

const A: &str = PODS[0];
const B: &str = PODS[1];
/// In which a duty has to be seen after a client began: what is left of the present epoch, and two.
const SOON: u64 = 5;
/// In which two that sign have a slot of one of their keys and are slashed for it.
const SLASHED: u64 = 24;
/// How long what must not sign is looked at.
const QUIET: u64 = 2;
/// Home's wait when somebody else signs, or may soon.
const ELSEWHERE: [WaitKind; 2] = [WaitKind::Grant, WaitKind::Moving];

pub struct Story {
    pub number: usize,
    pub name: &'static str,
    pub tell: fn(Arc<Lane>) -> BoxFuture<'static, anyhow::Result<()>>,
}

pub const ALL: [Story; 6] = [
    Story { number: 1, name: "planned, and back", tell: |lane| planned(lane).boxed() },
    Story { number: 2, name: "dark, and home returns", tell: |lane| dark(lane).boxed() },
    Story { number: 3, name: "two pods at home", tell: |lane| two_pods(lane).boxed() },
    Story { number: 4, name: "keys there too early", tell: |lane| early_keys(lane).boxed() },
    Story { number: 5, name: "home returns meanwhile", tell: |lane| returns(lane).boxed() },
    Story { number: 6, name: "home cut off the ledger", tell: |lane| cut(lane).boxed() },
];

/// What home lost by it: stopped by its gate, or dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    Released,
    Dark,
}

impl Fence {
    /// How long the validator may be without a signer, from home's stop to the signature: two silent epochs and what is left
    /// of the one in which home stops; or six (the boot and the sync of the machine are none here, and the session is old
    /// before) and four.
    pub fn most(self) -> Duration {
        EPOCH
            * match self {
                Self::Released => 4,
                Self::Dark => 10,
            }
    }
}

impl Lane {
    async fn home_signs(&self) -> anyhow::Result<()> {
        self.pod_up(A)?;
        self.signs(A).await?;
        self.attests(7, SOON).await.map(drop)
    }

    /// The end of a control: two may sign now.
    async fn until_slashed(&self) -> anyhow::Result<()> {
        let last = self.net.epoch() + SLASHED;
        while self.net.epoch() < last {
            if let Some(slashed @ 1..) = self.net.slashed(&self.keys).await {
                self.step(&format!("{slashed} of its keys are slashed"));
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        bail!("nobody was slashed in {SLASHED} epochs")
    }

    /// The standby alone signs, for some epochs, whatever waits elsewhere.
    async fn standby_alone(&self) -> anyhow::Result<()> {
        let end = self.net.epoch() + QUIET;
        while self.net.epoch() <= end {
            let seen = self.seen();
            let is_alone = seen.now.len() == 1 && seen.now.iter().all(|(_, place)| place == "standby");
            ensure!(is_alone, "not the standby alone: {seen:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.attests(1, SOON).await.map(drop)
    }
}

async fn planned(lane: Arc<Lane>) -> anyhow::Result<()> {
    lane.home_signs().await?;
    lane.promote(Fence::Released).await?;
    if !lane.gated {
        return lane.until_slashed().await;
    }
    lane.waits(A, &ELSEWHERE).await?;
    lane.attests(1, SOON).await?;
    lane.standby_alone().await?;
    lane.demote().await?;
    lane.signs(A).await?;
    lane.attests(7, SOON).await.map(drop)
}

async fn dark(lane: Arc<Lane>) -> anyhow::Result<()> {
    ensure!(Path::new(FAKETIME).exists(), "no clock is moved without libfaketime: install faketime");
    lane.home_signs().await?;
    lane.pod_down(A).await?;
    lane.promote(Fence::Dark).await?;
    lane.step("home returns at once");
    lane.pod_up(A)?;
    if !lane.gated {
        return lane.until_slashed().await;
    }
    lane.waits(A, &ELSEWHERE).await?;
    lane.attests(1, SOON).await?;
    lane.standby_alone().await?;
    lane.pod_down(A).await?;
    lane.step("home returns after a day");
    lane.pod_up_later(A, Duration::from_secs(24 * 3600))?;
    lane.waits(A, &ELSEWHERE).await?;
    lane.standby_alone().await
}

async fn two_pods(lane: Arc<Lane>) -> anyhow::Result<()> {
    lane.home_signs().await?;
    lane.pod_up(B)?;
    if !lane.gated {
        lane.signs(B).await?;
        return lane.until_slashed().await;
    }
    lane.waits(B, &[WaitKind::Session]).await?;
    lane.pod_down(A).await?;
    lane.signs(B).await?;
    lane.pod_up(A)?;
    lane.waits(A, &[WaitKind::Session]).await?;
    lane.attests(7, SOON).await?;
    lane.promote(Fence::Released).await?;
    for pod in PODS {
        lane.waits(pod, &ELSEWHERE).await?;
    }
    lane.attests(1, SOON).await?;
    lane.standby_alone().await
}

async fn early_keys(lane: Arc<Lane>) -> anyhow::Result<()> {
    lane.home_signs().await?;
    lane.standby.import_keys(&lane.safe).await?;
    lane.unit_up()?;
    lane.step("the keys are on the machine, and its unit is started");
    if !lane.gated {
        lane.signs("standby").await?;
        return lane.until_slashed().await;
    }
    lane.waits("standby", &[WaitKind::Grant]).await?;
    lane.attests(7, SOON).await?;
    // Its gate waits, so nothing has the database open: the watermark is imported before the grant is carried.
    lane.take_over(Fence::Released, async |mark: &Path| lane.standby.import_history(mark).await).await?;
    lane.signs("standby").await?;
    lane.waits(A, &ELSEWHERE).await?;
    lane.attests(1, SOON).await?;
    lane.standby_alone().await
}

async fn returns(lane: Arc<Lane>) -> anyhow::Result<()> {
    lane.home_signs().await?;
    lane.pod_down(A).await?;
    lane.raise().await?;
    lane.step("home returns while it is promoted");
    lane.pod_up(A)?;
    lane.waits(A, &ELSEWHERE).await?;
    lane.after_the_raise(Fence::Dark).await?;
    if !lane.gated {
        return lane.until_slashed().await;
    }
    lane.waits(A, &ELSEWHERE).await?;
    lane.attests(1, SOON).await?;
    lane.standby_alone().await
}

async fn cut(lane: Arc<Lane>) -> anyhow::Result<()> {
    lane.home_signs().await?;
    lane.wire.set(Wire::Hangs).await;
    lane.step("home is cut off the ledger");
    lane.promote(Fence::Dark).await?;
    if !lane.gated {
        return lane.until_slashed().await;
    }
    lane.attests(1, SOON).await?;
    lane.wire.set(Wire::Whole).await;
    lane.step("home reaches the ledger again");
    lane.waits(A, &ELSEWHERE).await?;
    lane.standby_alone().await
}
