//! The lane's machine in the fake cloud. It is played: a process group with a boot id of its own and the metadata server of
//! its machine. What runs on it, the gate and the client, is real, and ends with its boot.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use failover::{
    adapters::clock::SystemClock,
    domain::{Span, ownership::GrantPlace},
    sandbox::compute::{FakeCompute, Machines, Powered, System},
};
use serde_json::{Value, json};
use uuid::Uuid;

pub const PROJECT: &str = "stories";
pub const ZONE: &str = "us-central1-a";
pub const NAME: &str = "fo-standby";

/// A boot of the machine.
#[derive(Clone, Debug)]
pub struct Boot {
    pub id: String,
    metadata: SocketAddr,
    /// Mounted over the kernel's own.
    file: PathBuf,
}

/// What is on: the boot, and what was started in it.
#[derive(Default)]
struct On {
    boot: Option<Boot>,
    units: Vec<Child>,
}

#[derive(Clone)]
struct Played {
    folder: PathBuf,
    on: Arc<Mutex<On>>,
}

#[async_trait]
impl System for Played {
    async fn run(&self, machine: Powered) {
        let (id, file) = (Uuid::new_v4().to_string(), self.folder.join(format!("boot-{}", machine.boot)));
        fs::write(&file, format!("{id}\n")).unwrap();
        self.on.lock().unwrap().boot = Some(Boot { id, metadata: machine.metadata, file });
        machine.off.cancelled().await;
        let units = std::mem::take(&mut *self.on.lock().unwrap()).units;
        for unit in units {
            end(unit);
        }
    }
}

/// As a power cut ends it, with all that it has started.
pub fn end(mut process: Child) {
    let _ = process.kill();
    let _ = process.wait();
}

pub struct Cloud {
    pub fake: FakeCompute,
    machines: Mutex<Option<Machines>>,
    played: Played,
    client: reqwest::Client,
}

impl Cloud {
    pub async fn start(folder: &Path, validator: &str) -> anyhow::Result<Self> {
        let fake = FakeCompute::start(&[ZONE], Span::from_millis(200), Arc::new(SystemClock)).await?;
        let played = Played { folder: folder.to_owned(), on: Arc::default() };
        let machines = Machines::boot(&fake, Arc::new(played.clone()));
        let client = failover::adapters::http::client(Duration::from_secs(5))?;
        let cloud = Self { fake, machines: Mutex::new(Some(machines)), played, client };
        cloud.insert(validator).await?;
        Ok(cloud)
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/compute/v1/projects/{PROJECT}/zones/{ZONE}/instances{rest}", self.fake.url())
    }

    async fn post(&self, rest: &str, body: Value) -> anyhow::Result<()> {
        let answer = self.client.post(self.url(rest)).json(&body).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{rest}: {status} {text}");
        Ok(())
    }

    /// A standby as the watcher makes one, as far as people's commands look at it.
    async fn insert(&self, validator: &str) -> anyhow::Result<()> {
        let labels = json!({"app": "failover", "site": "home", "validator": validator, "role": "standby",
                            "incident": Uuid::new_v4().to_string(), "ledger": Uuid::new_v4().to_string()});
        let body = json!({
            "name": NAME, "machineType": format!("zones/{ZONE}/machineTypes/n2-standard-8"), "labels": labels,
            "disks": [{"boot": true, "autoDelete": true}],
            "metadata": {"items": [{"key": "enable-guest-attributes", "value": "TRUE"}]},
        });
        self.post("", body).await?;
        self.until("it has booted", |on, _| on.boot.is_some()).await
    }

    async fn machine(&self) -> anyhow::Result<Value> {
        Ok(self.client.get(self.url(&format!("/{NAME}"))).send().await?.error_for_status()?.json().await?)
    }

    async fn until(&self, what: &str, is: impl Fn(&On, &str) -> bool) -> anyhow::Result<()> {
        let wait = async {
            loop {
                let status = self.fake.machines().iter().find(|it| it.name == NAME).map(|it| it.status().to_owned());
                if is(&self.played.on.lock().unwrap(), &status.unwrap_or_default()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.with_context(|| format!("the machine: {what}"))
    }

    pub fn boot(&self) -> anyhow::Result<Boot> {
        self.played.on.lock().unwrap().boot.clone().context("the machine is off")
    }

    /// For which a grant is signed: this boot.
    pub async fn place(&self) -> anyhow::Result<GrantPlace> {
        let id = self.machine().await?["id"].as_str().context("a machine has an id")?.parse::<u64>()?;
        let boot_id = self.boot()?.id;
        Ok(GrantPlace::Cloud { project: PROJECT.into(), zone: ZONE.into(), instance_id: id.into(), boot_id })
    }

    /// Leaves a grant in its metadata, over exactly what was read.
    pub async fn carry(&self, grant: &str) -> anyhow::Result<()> {
        let mut metadata = self.machine().await?["metadata"].clone();
        let items = metadata["items"].as_array_mut().context("it has metadata")?;
        items.retain(|item| item["key"] != "failover-grant");
        items.push(json!({"key": "failover-grant", "value": grant}));
        self.post(&format!("/{NAME}/setMetadata"), metadata).await?;
        let is_there = || {
            let machines = self.fake.machines();
            machines.iter().any(|machine| machine.metadata().any(|found| found == ("failover-grant", grant)))
        };
        self.until("it has the grant", |_, _| is_there()).await
    }

    /// Until it is seen TERMINATED; nothing of it runs any more then.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        self.post(&format!("/{NAME}/stop"), json!({})).await?;
        self.until("it is TERMINATED", |on, status| status == "TERMINATED" && on.boot.is_none()).await
    }

    /// Starts this on it. It must be called from a task and not from a thread that ends: the kernel ends the process with
    /// its thread.
    pub fn start_unit(&self, mut words: Vec<OsString>, log: fs::File) -> anyhow::Result<()> {
        let boot = self.boot()?;
        let mount = format!("mount --bind '{}' /proc/sys/kernel/random/boot_id && exec \"$@\"", boot.file.display());
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["sh", "-c", &mount, "-"]).args(words.drain(..));
        command.env("GCE_METADATA_HOST", boot.metadata.to_string());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn()?;
        let mut on = self.played.on.lock().unwrap();
        on.units.push(child);
        Ok(())
    }

    pub async fn power_off(&self) {
        let machines = self.machines.lock().unwrap().take();
        if let Some(machines) = machines {
            machines.power_off().await;
        }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        for unit in std::mem::take(&mut *self.played.on.lock().unwrap()).units {
            end(unit);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_of_the_machine_has_an_id_of_its_own_and_takes_along_what_runs_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path(), "eth-0").await.unwrap();
    cloud.carry("a grant").await.unwrap();
    let boot = cloud.boot().unwrap();
    let (said, began) = (folder.path().join("said"), folder.path().join("began"));
    let script = format!(
        "cat /proc/sys/kernel/random/boot_id > '{0}' && curl -sf -H 'Metadata-Flavor: Google' \
         http://$GCE_METADATA_HOST/computeMetadata/v1/instance/attributes/failover-grant >> '{0}' && \
         mv '{0}' '{1}' && exec sleep 1000",
        said.display(),
        began.display()
    );
    let log = fs::File::create(folder.path().join("log")).unwrap();
    cloud.start_unit(["sh", "-c", &script].map(OsString::from).into(), log).unwrap();
    let patience = std::time::Instant::now();
    while !began.exists() {
        let log = fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(patience.elapsed() < Duration::from_secs(20), "{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(fs::read_to_string(&began).unwrap(), format!("{}\na grant", boot.id));
    let kernel = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_ne!(kernel.trim(), boot.id, "the kernel's own is as it was");
    let unit = cloud.played.on.lock().unwrap().units[0].id();
    cloud.terminate().await.unwrap();
    assert!(!Path::new(&format!("/proc/{unit}")).exists() && cloud.boot().is_err(), "it ended with the machine");
    cloud.post(&format!("/{NAME}/start"), json!({})).await.unwrap();
    cloud.until("it has booted again", |on, _| on.boot.is_some()).await.unwrap();
    assert_ne!(cloud.boot().unwrap().id, boot.id);
    cloud.power_off().await;
}
