//! The person: adopts, promotes, moves the keys, moves back. Without the gate it is the same person with the same steps, but
//! for those that only a gate can answer: nothing at home stops because a number in the ledger was raised.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use failover::{
    domain::{
        LedgerKey, Time,
        ownership::{Grant, GrantPlace, NAMESPACE, Session, SignedGrant},
    },
    ports::{Expect, Ledger as _, Version},
    records,
    runtime::grants,
};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    lane::{Lane, PATIENCE},
    network::{HOME, SLOTS, STANDBY, epochs},
    tales::Fence,
};

pub const BY: &str = "me@home";
/// How many silent epochs prove it, by the session's end: its gate gave it back, or it has only become old.
const SILENT_RELEASED: u64 = 2;
const SILENT_OLD: u64 = 5;

impl Lane {
    /// The operator's own command.
    pub async fn failover(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_failover"));
        command.args(arguments).arg("--config").arg(self.at("failover.yaml")).env_remove("RUST_LOG");
        let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output()).await??;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(output.status.success(), "{arguments:?}: {} {}", said(&output.stdout), said(&output.stderr));
        Ok(said(&output.stdout))
    }

    pub async fn adopt(&self, more: &[&str]) -> anyhow::Result<()> {
        if !self.gated {
            return Ok(());
        }
        let key = self.at("key");
        let key = key.to_str().context("a path")?;
        self.failover(&[&["adopt", self.validator.as_str(), "--yes", "--by", BY, "--key", key], more].concat()).await?;
        self.step("a grant for home is signed");
        Ok(())
    }

    async fn session(&self) -> anyhow::Result<(Session, Version)> {
        let key = LedgerKey::session(&self.validator);
        let stored = self.ledger.get(&key).await?.context("there is a session")?;
        Ok((records::decode(&key, &stored.bytes)?, stored.version))
    }

    /// Raises the number, over exactly what was read.
    pub async fn raise(&self) -> anyhow::Result<()> {
        if !self.gated {
            return Ok(());
        }
        let key = LedgerKey::session(&self.validator);
        loop {
            let (session, version) = self.session().await?;
            let raised = session.raised_to(session.number + 1, Uuid::new_v4());
            if self.ledger.put(&key, records::encode(&key, &raised), Expect::Version(version)).await.is_ok() {
                self.step("the session's number is raised");
                return Ok(());
            }
        }
    }

    /// Until nobody at home can sign; `true` when its gate has said so itself.
    async fn fenced(&self) -> anyhow::Result<bool> {
        let (mut seen, mut since) = (None, Instant::now());
        let began = Instant::now();
        loop {
            // A ledger that does not answer now is asked again.
            if let Ok((session, _)) = self.session().await {
                if seen != Some(session.write) {
                    (seen, since) = (Some(session.write), Instant::now());
                }
                if session.is_fence(since.elapsed()) {
                    let released = session.holder.is_none();
                    self.step(if released { "home has given its session back" } else { "home's session is old" });
                    return Ok(released);
                }
            }
            ensure!(began.elapsed() < PATIENCE, "the session is not free after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Until so many whole epochs have ended one after the other in which neither node has seen a duty, the first of them
    /// after the present one. How many are needed may become known later: silence and the wait for the session run side by
    /// side.
    async fn silent(&self, needed: watch::Receiver<Option<u64>>) -> anyhow::Result<()> {
        let (mut silent, began) = (0, self.net.epoch());
        let mut epoch = began + 1;
        loop {
            if let Some(needed) = needed.borrow().filter(|needed| silent >= *needed) {
                self.step(&format!("{silent} epochs were silent, of {needed}"));
                return Ok(());
            }
            if self.net.is_known(epoch) {
                let live = async |node| self.net.live(node, epoch, &self.keys).await;
                let seen = [live(HOME).await, live(STANDBY).await];
                silent = if seen == [Some(0), Some(0)] { silent + 1 } else { 0 };
                epoch += 1;
                ensure!(epoch < began + 24, "only {silent} epochs were silent, and {needed:?} are needed");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Above everything that can have been signed until now.
    pub async fn watermark(&self, name: &str) -> anyhow::Result<PathBuf> {
        let (file, keys) = (self.at(name), self.at("public-keys"));
        let (epoch, slots) = ((self.net.epoch() + 1).to_string(), SLOTS.to_string());
        let words = ["watermark", "--out", file.to_str().context("a path")?, "--genesis-root", &self.net.root];
        let keys = ["--public-keys-file", keys.to_str().context("a path")?];
        let epochs = ["--epoch", &epoch, "--slots-per-epoch", &slots];
        self.failover(&[words.as_slice(), &keys, &epochs].concat()).await?;
        Ok(file)
    }

    /// The signature: grant *cloud* for this boot, over exactly the grant that is in force.
    pub async fn commit(&self) -> anyhow::Result<SignedGrant> {
        let stored = self.ledger.get(&LedgerKey::owner(&self.validator)).await?.context("there is a grant")?;
        let before = SignedGrant::parse(&stored.bytes)?;
        let (session, _) = self.session().await?;
        ensure!(session.number == before.grant.number + 1, "grant {} and {session:?}", before.grant.number);
        let grant = self.sign(&before.grant, self.cloud.place().await?)?;
        grants::replace(&self.ledger, &self.validator, Some(&stored), &grant).await?;
        self.step("the grant for the machine's boot is in force");
        Ok(grant)
    }

    fn sign(&self, before: &Grant, owner: GrantPlace) -> anyhow::Result<SignedGrant> {
        let grant = Grant {
            owner,
            number: before.number + 1,
            previous: Some(before.digest()),
            issued_at: Time::now(),
            reason: "a promotion".into(),
            ..before.clone()
        };
        let mut signing = Command::new("ssh-keygen");
        signing.args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"]).arg(self.at("key"));
        let mut child = signing.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        child.stdin.take().context("a pipe")?.write_all(&grant.bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "ssh-keygen does not sign");
        Ok(SignedGrant { grant, signature: String::from_utf8(output.stdout)? })
    }

    /// From the raise to the grant on its way. `before`: with the watermark, before the grant is carried.
    pub async fn take_over(
        &self,
        fence: Fence,
        before: impl AsyncFnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        self.raise().await?;
        self.fence_and_sign(fence, before).await
    }

    async fn fence_and_sign(
        &self,
        fence: Fence,
        before: impl AsyncFnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        if !self.gated {
            let mark = self.watermark("watermark-cloud.json").await?;
            return before(&mark).await.map(|()| mark);
        }
        let (needs, needed) = watch::channel(None);
        let fenced = async {
            let released = self.fenced().await?;
            ensure!(released || fence == Fence::Dark, "home's gate runs, and has not given the session back");
            let mark = self.watermark("watermark-cloud.json").await?;
            needs.send_replace(Some(if released { SILENT_RELEASED } else { SILENT_OLD }));
            Ok(mark)
        };
        let (mark, ()) = tokio::try_join!(fenced, self.silent(needed))?;
        let stopped = self.seen().last.context("home has signed")?;
        let grant = self.commit().await?;
        let without = stopped.elapsed();
        self.step(&format!("{:.1} epochs after home's client had ended the cloud may sign", epochs(without)));
        ensure!(without <= fence.most(), "{fence:?}: {without:?}, more than {:?}", fence.most());
        before(&mark).await?;
        self.cloud.carry(&String::from_utf8(grant.bytes())?).await?;
        Ok(mark)
    }

    /// The keystores, the watermark once, and the unit.
    async fn move_keys(&self, mark: &Path) -> anyhow::Result<()> {
        self.standby.import_keys(&self.safe).await?;
        self.standby.import_history(mark).await?;
        self.step("the keys and the watermark are on the machine");
        self.unit_up()?;
        self.signs("standby").await
    }

    pub async fn promote(&self, fence: Fence) -> anyhow::Result<()> {
        self.raise().await?;
        self.after_the_raise(fence).await
    }

    pub async fn after_the_raise(&self, fence: Fence) -> anyhow::Result<()> {
        let mark = self.fence_and_sign(fence, async |_: &Path| Ok(())).await?;
        self.move_keys(&mark).await
    }

    /// Back home: the machine is TERMINATED, two silent epochs, the watermark for home, and one signed grant.
    pub async fn demote(&self) -> anyhow::Result<()> {
        self.cloud.terminate().await?;
        self.step("the machine is TERMINATED");
        let mark = self.watermark("watermark-home.json").await?;
        self.silent(watch::channel(Some(SILENT_RELEASED)).1).await?;
        for pod in self.home.values() {
            // Its gate waits, and nothing has its database open.
            pod.import_history(&mark).await?;
        }
        self.adopt(&["--reason", "back home"]).await
    }

    /// Every file that its places say they have signed, and what their databases have taken out of use.
    pub async fn exported(&self) -> anyhow::Result<(Vec<serde_json::Value>, usize)> {
        let (mut exports, mut blacklisted) = (Vec::new(), 0);
        for client in self.home.values().chain([&self.standby]) {
            exports.extend(client.export().await?);
            blacklisted += client.blacklisted(&self.net.root).await?;
        }
        for (number, export) in exports.iter().enumerate() {
            fs::write(self.at(&format!("export-{number}.json")), export.to_string())?;
        }
        Ok((exports, blacklisted))
    }
}
