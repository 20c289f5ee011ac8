//! One telling of a story: with the gate, or the same without. Home with its pods, its wire to the ledger, the machine.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use failover::{
    adapters::ledger_gcs::{GcsConfig, LedgerGcs},
    domain::{
        ValidatorId,
        gate::{GatePhase, GateStatus, WaitKind},
    },
};
use google_cloud_auth::credentials::anonymous;

use super::{
    client::{Client, Safe},
    machine::{Cloud, PROJECT, ZONE, end},
    network::{EPOCH, HOME, KEYS, Net, STANDBY},
    signers::{Seen, Signers},
};
use crate::{program::free_port, two::proxy::Proxy};

/// Of the gate at home: what every wait of the stories is made of.
pub const GATE_TTL: Duration = Duration::from_secs(60);
pub const STOP_GRACE: Duration = Duration::from_secs(10);
/// New folders wait for two silent epochs, and a busy machine loses some.
pub const PATIENCE: Duration = Duration::from_secs(14 * EPOCH.as_secs());
pub const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
pub const PODS: [&str; 2] = ["home-a", "home-b"];

pub struct Lane {
    pub net: Arc<Net>,
    pub signers: Arc<Signers>,
    /// What the marks of its clients begin with.
    pub tag: String,
    /// One of its own in each lane: a machine has one gate of a validator, and the played machines are one to the kernel.
    pub validator: ValidatorId,
    pub gated: bool,
    pub keys: Range<u64>,
    pub public: Vec<String>,
    pub safe: Safe,
    pub cloud: Cloud,
    pub ledger: LedgerGcs,
    /// Home's way to the ledger.
    pub wire: Proxy,
    folder: PathBuf,
    pub home: HashMap<&'static str, Client>,
    pub standby: Client,
    pods: Mutex<HashMap<&'static str, (Child, String)>>,
    steps: Mutex<Vec<(String, Instant)>>,
}

impl Lane {
    /// The lane of this number: its keys, its folders, its part of the bucket.
    pub async fn new(
        net: Arc<Net>,
        signers: Arc<Signers>,
        bucket: &str,
        folder: &Path,
        tag: String,
        number: u64,
    ) -> anyhow::Result<Self> {
        let (gated, validator) = (tag.ends_with("gate"), ValidatorId::new(&format!("eth-{number}"))?);
        let folder = folder.join(&tag);
        fs::create_dir_all(&folder)?;
        let keys = number * KEYS..(number + 1) * KEYS;
        let public = net.public_keys(&keys).await;
        let safe = Safe::of(folder.join("safe"), &keys, &public).await?;
        let client = |place: &str, node| Client::new(folder.join(place), format!("{tag} {place}"), node);
        let home = HashMap::from([(PODS[0], client(PODS[0], HOME)?), (PODS[1], client(PODS[1], HOME)?)]);
        for pod in home.values() {
            pod.import_keys(&safe).await?;
        }
        let standby = client("standby", STANDBY)?;
        let ledger = LedgerGcs::new(GcsConfig {
            endpoint: Some(bucket.parse()?),
            bucket: "ledger".into(),
            prefix: format!("{tag}/"),
            login: Arc::new(anonymous::Builder::new().build()),
            timeout: Duration::from_secs(10),
        })?;
        let cloud = Cloud::start(&folder, validator.as_str()).await?;
        let wire = Proxy::before(bucket).await;
        let (pods, steps) = (Mutex::default(), Mutex::default());
        let lane = Self {
            net,
            signers,
            tag,
            validator,
            gated,
            keys,
            public,
            safe,
            cloud,
            ledger,
            wire,
            folder,
            home,
            standby,
            pods,
            steps,
        };
        lane.write_files(bucket).await?;
        Ok(lane)
    }

    async fn write_files(&self, bucket: &str) -> anyhow::Result<()> {
        fs::write(self.at("public-keys"), self.public.iter().map(|key| format!("{key}\n")).collect::<String>())?;
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(self.at("key")).status();
        ensure!(made?.success(), "ssh-keygen");
        let public = fs::read_to_string(self.at("key.pub"))?;
        let words: Vec<_> = public.split(' ').take(2).collect();
        let allowed = format!("{} namespaces=\"failover-grant\" {}\n", super::operator::BY, words.join(" "));
        fs::write(self.at("allowed"), allowed)?;
        let config = format!(
            "site: home\nledger: {{gcs: {{bucket: ledger, prefix: '{tag}', endpoint: '{bucket}', credentials: anonymous}}}}\n\
             grants: {{allowed_signers: '{allowed}'}}\n\
             ethereum: {{beacon_nodes: [{{name: one, url: '{one}'}}, {{name: two, url: '{two}'}}], genesis_root: '{root}'}}\n\
             validators: [{{name: {validator}, kind: ethereum, public_keys_file: '{keys}', process: {{url: 'http://127.0.0.1:1'}}}}]\n\
             compute:\n  project: {PROJECT}\n  endpoint: '{cloud}'\n  credentials: anonymous\n  \
               ladder: [{{zone: {ZONE}, machine_type: n2-standard-8}}]\n  disk: {{type: pd-balanced, size_gb: 100}}\n",
            tag = self.tag,
            validator = self.validator,
            allowed = self.at("allowed").display(),
            one = self.net.beacon(HOME),
            two = self.net.beacon(STANDBY),
            root = self.net.root,
            keys = self.at("public-keys").display(),
            cloud = self.cloud.fake.url(),
        );
        Ok(fs::write(self.at("failover.yaml"), config)?)
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Something that has happened now.
    pub fn step(&self, what: &str) {
        println!("{:>6}  {what}", self.tag);
        self.steps.lock().unwrap().push((what.to_owned(), Instant::now()));
    }

    pub fn steps(&self) -> Vec<(String, Instant)> {
        self.steps.lock().unwrap().clone()
    }

    /// The gate in front of a client, with what both places have in common.
    fn gate(&self, client: &Client, place: &str, listen: &str) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![env!("CARGO_BIN_EXE_failover-gate").into(), "run".into()];
        let mut say = |option: &str, value: OsString| words.extend([option.into(), value]);
        let name = client.mark.split_once(' ').unwrap().1;
        say("--validator", self.validator.as_str().into());
        say("--place", place.into());
        say("--chain", self.net.root.clone().into());
        say("--allowed-signers", self.at("allowed").into());
        say("--public-keys-file", self.at("public-keys").into());
        say("--state", self.at(&format!("state-{name}")).into());
        say("--beacon-node", self.net.beacon(client.node()).into());
        say("--listen", listen.into());
        if place == "home" {
            say("--ledger", format!("gs://ledger/{}", self.tag).into());
            say("--ledger-endpoint", self.wire.url().into());
            say("--credentials", "anonymous".into());
            say("--gate-ttl", format!("{}s", GATE_TTL.as_secs()).into());
            say("--stop-grace", format!("{}s", STOP_GRACE.as_secs()).into());
        }
        words.push("--".into());
        words
    }

    fn log(&self, name: &str) -> anyhow::Result<fs::File> {
        Ok(fs::File::options().create(true).append(true).open(self.at(&format!("{name}.log")))?)
    }

    /// A pod of home begins, as the kubelet starts it: behind the gate, or the client alone.
    pub fn pod_up(&self, name: &'static str) -> anyhow::Result<()> {
        self.pod(name, None)
    }

    /// The same, and its wall clock says so much more than everybody's. A client of the control has no such clock: Go's
    /// programs ask the kernel, and it remembers nothing of time.
    pub fn pod_up_later(&self, name: &'static str, later: Duration) -> anyhow::Result<()> {
        self.pod(name, Some(later))
    }

    fn pod(&self, name: &'static str, later: Option<Duration>) -> anyhow::Result<()> {
        let (client, listen) = (&self.home[name], format!("127.0.0.1:{}", free_port()));
        let mut words = if self.gated { self.gate(client, "home", &listen) } else { Vec::new() };
        words.extend(client.command(&self.net));
        let log = self.log(name)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]).args(words);
        if let (Some(later), true) = (later, self.gated) {
            let preload = [("LD_PRELOAD", FAKETIME), ("DONT_FAKE_MONOTONIC", "1")];
            command.envs(preload).env("FAKETIME", format!("+{}", later.as_secs()));
        }
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        if let Some((before, _)) = self.pods.lock().unwrap().insert(name, (child, format!("http://{listen}/status"))) {
            end(before);
        }
        Ok(())
    }

    /// As if its plug were pulled.
    pub async fn pod_down(&self, name: &'static str) -> anyhow::Result<()> {
        let pod = self.pods.lock().unwrap().remove(name);
        let (child, _) = pod.with_context(|| format!("{name} is down already"))?;
        end(child);
        self.until(&format!("{name} has ended"), Duration::from_secs(2), |seen| {
            !seen.now.iter().any(|(_, place)| place == name)
        })
        .await
    }

    /// What is enabled on the machine: the gate, or the client alone.
    pub fn unit_up(&self) -> anyhow::Result<()> {
        let mut words = Vec::new();
        if self.gated {
            let listen = format!("127.0.0.1:{}", free_port());
            fs::write(self.at("standby.url"), format!("http://{listen}/status"))?;
            words = self.gate(&self.standby, "cloud", &listen);
        }
        words.extend(self.standby.command(&self.net));
        self.cloud.start_unit(words, self.log("standby")?)
    }

    /// What the gate of this place says.
    pub async fn status(&self, place: &str) -> Option<GateStatus> {
        let url = self.pods.lock().unwrap().get(place).map(|(_, url)| url.clone());
        let url = url.or_else(|| fs::read_to_string(self.at(&format!("{place}.url"))).ok())?;
        let client = failover::adapters::http::client(Duration::from_secs(2)).ok()?;
        client.get(url).send().await.ok()?.json().await.ok()
    }

    /// Waits until the gate of this place waits for this, and returns its reason. Without a gate there is nothing to ask.
    pub async fn waits(&self, place: &str, kind: &[WaitKind]) -> anyhow::Result<()> {
        if !self.gated {
            return Ok(());
        }
        let began = Instant::now();
        loop {
            let status = self.status(place).await;
            if let Some(GateStatus { state: GatePhase::Waiting { why, kind: found, .. }, .. }) = &status
                && kind.contains(found)
            {
                self.step(&format!("{place} waits: {why}"));
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "{place} does not wait for {kind:?}: {status:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub fn seen(&self) -> Seen {
        self.signers.of(&self.tag)
    }

    pub async fn until(&self, what: &str, most: Duration, is: impl Fn(&Seen) -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !is(&self.seen()) {
            if began.elapsed() >= most {
                let home = (self.status(PODS[0]).await, self.status(PODS[1]).await);
                bail!("{what}: not after {most:?}; {:?}, {home:?}, {:?}", self.seen(), self.status("standby").await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.step(what);
        Ok(())
    }

    /// Waits until the client of this place runs.
    pub async fn signs(&self, place: &str) -> anyhow::Result<()> {
        let is = |seen: &Seen| seen.now.iter().any(|(_, found)| found == place);
        self.until(&format!("{place}'s client runs"), PATIENCE, is).await
    }

    /// Waits for an epoch from the present one on that shows at least so many of its keys; which one.
    pub async fn attests(&self, least: usize, most: u64) -> anyhow::Result<u64> {
        let first = self.net.epoch();
        let mut seen = Vec::new();
        for epoch in first..first + most {
            self.net.until_known(epoch).await;
            let live = self.net.live(HOME, epoch, &self.keys).await;
            seen.push((epoch, live));
            if live.is_some_and(|live| live >= least) {
                self.step(&format!("{} of its {KEYS} keys had a duty in epoch {epoch}", live.unwrap_or_default()));
                return Ok(epoch);
            }
        }
        bail!("fewer than {least} of its keys attest: {seen:?}")
    }

    /// Ends everything of it.
    pub async fn stop(&self) {
        let pods = std::mem::take(&mut *self.pods.lock().unwrap());
        for (child, _) in pods.into_values() {
            end(child);
        }
        self.cloud.power_off().await;
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        for (child, _) in std::mem::take(&mut *self.pods.lock().unwrap()).into_values() {
            end(child);
        }
    }
}
