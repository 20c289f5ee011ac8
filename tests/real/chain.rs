//! The chain source against a real network: geth, Prysm, 64 validators of which eight are "ours".
//!
//! Everything is waited for in epochs. A machine that is too busy for a slot makes the run say nothing: that is
//! reported, and the run is repeated once.

use std::{
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use failover::{
    adapters::{
        beacon::{BeaconConfig, BeaconWatch, NodeConfig, missed, probe},
        clock::SystemClock,
        http,
    },
    domain::{ChainHealth, ChainObservation, PublicKey, Reading, Time, ValidatorId, Verdict, gates::MissedDuties},
    ports::Clock,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::path::WholePath;

/// Slots the network lost by itself, for want of a processor: such a run proves nothing in either direction.
#[derive(Debug)]
struct Invalid(String);

/// Leave to run a network. Two at once are too much for a small machine: slots would come late, and say nothing.
pub struct Network(#[allow(dead_code, reason = "held, not read")] tokio::sync::MutexGuard<'static, ()>);

impl Network {
    /// Waits until no other test of this program has one.
    pub async fn mine() -> Self {
        static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        Self(ONE.lock().await)
    }
}

/// The network. Everything in it is stopped when it is dropped, and also when this process dies.
pub struct Devnet {
    folder: TempDir,
    /// How many keys it has, as `ethereum.sh up` takes it.
    size: Vec<String>,
    /// Given back when the network has been stopped: fields are dropped after [`Drop::drop`].
    _leave: Network,
}

impl Devnet {
    fn up_on(network: Network, size: &[&str]) -> Self {
        let size = size.iter().map(ToString::to_string).collect();
        let devnet = Self { folder: tempfile::tempdir().unwrap(), size, _leave: network };
        devnet.up();
        devnet
    }

    fn up(&self) {
        let size = self.size.iter().map(String::as_str);
        let owner = std::process::id().to_string();
        self.run(&["up"], &["--watch", &owner].into_iter().chain(size).collect::<Vec<_>>());
    }

    pub fn run(&self, verb: &[&str], rest: &[&str]) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parts/ethereum.sh");
        let output = Command::new(script).args(verb).arg(self.folder.path()).args(rest).output();
        let output = output.expect("tests/parts/ethereum.sh can be run");
        assert!(output.status.success(), "{verb:?} {rest:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn stop(&self, name: &str) {
        self.run(&["stop"], &[name]);
    }

    /// A file of the network.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where node 1 takes peers, and its name among them, which only its log tells.
    pub fn peer(&self) -> (u16, String) {
        let ports = std::fs::read_to_string(self.file("node1.ports")).unwrap();
        let log = String::from_utf8_lossy(&std::fs::read(self.file("beacon1.log")).unwrap()).into_owned();
        let start = log.find("16Uiu2HA").expect("node 1 says its name");
        let name = log[start..].chars().take_while(char::is_ascii_alphanumeric).collect();
        (ports.split_whitespace().nth(1).unwrap().parse().unwrap(), name)
    }

    /// Which chain it is.
    pub async fn genesis_root(&self) -> String {
        let client = http::client(Duration::from_secs(10)).unwrap();
        let url = format!("{}/eth/v1/beacon/genesis", self.beacon());
        let answer: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        answer["data"]["genesis_validators_root"].as_str().unwrap().to_owned()
    }

    pub fn beacon(&self) -> String {
        self.beacon_of(1)
    }

    pub fn beacon_of(&self, node: u8) -> String {
        let text = std::fs::read_to_string(self.file(&format!("node{node}.json"))).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["beacon"].as_str().unwrap().to_owned()
    }

    /// A network that has its first block: only now may a client be stopped. Prysm's node crashes when the first slot stays
    /// empty, one key in eight is ours, and a busy machine may lose that slot by itself: then it is a new network.
    pub async fn up_with_a_block(network: Network) -> Self {
        Self::up_of(network, &[]).await
    }

    /// The same with another number of keys.
    pub async fn up_of(network: Network, size: &[&str]) -> Self {
        let mut devnet = Self::up_on(network, size);
        for _ in 0..2 {
            if devnet.has_a_block().await {
                return devnet;
            }
            println!("the first slot stayed empty, and the node has crashed: a new network");
            devnet.run(&["stop"], &[]);
            devnet.folder = tempfile::tempdir().unwrap();
            devnet.up();
        }
        assert!(devnet.has_a_block().await, "three networks in a row have lost their first slot");
        devnet
    }

    /// Waits for the first block, as long as the node has not crashed.
    async fn has_a_block(&self) -> bool {
        let client = http::client(Duration::from_secs(10)).unwrap();
        let url = format!("{}/eth/v1/node/syncing", self.beacon());
        let until = Instant::now() + Duration::from_secs(120);
        while Instant::now() < until {
            if let Ok(answer) = client.get(&url).send().await
                && let Ok(answer) = answer.json::<Value>().await
                && let Some(head) = answer["data"]["head_slot"].as_str()
                && head != "0"
            {
                return true;
            }
            let log = std::fs::read(self.file("beacon1.log")).unwrap_or_default();
            if String::from_utf8_lossy(&log).lines().any(|line| line.starts_with("panic:")) {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        false
    }

    /// The public keys 0 to 7, as the node has them.
    pub async fn our_keys(&self) -> Vec<PublicKey> {
        let url = format!("{}/eth/v1/beacon/states/genesis/validators?id=0,1,2,3,4,5,6,7", self.beacon());
        let client = http::client(Duration::from_secs(10)).unwrap();
        let answer: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        let keys = answer["data"].as_array().unwrap_or_else(|| panic!("no validators: {answer}"));
        keys.iter().map(|key| key["validator"]["pubkey"].as_str().unwrap().parse().unwrap()).collect()
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parts/ethereum.sh");
        let _ = Command::new(script).arg("stop").arg(self.folder.path()).status();
    }
}

/// Our watcher on the network.
struct Watch {
    rx: mpsc::Receiver<ChainObservation>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Watch {
    fn start(node: NodeConfig, keys: Vec<PublicKey>) -> Self {
        let ours = vec![(ValidatorId::new("eth-0").unwrap(), keys)];
        let watch = BeaconWatch::new(BeaconConfig::new(vec![node]), ours, Arc::new(SystemClock)).unwrap();
        let (tx, rx) = mpsc::channel(16);
        let stop = CancellationToken::new();
        Self { rx, task: tokio::spawn(watch.run(tx, stop.clone())), stop }
    }

    /// What is said at the end of the next epoch.
    async fn epoch(&mut self) -> (u64, Reading, ChainHealth) {
        loop {
            // Two minutes are five epochs: then it is the watcher that is stuck.
            let seen = tokio::time::timeout(Duration::from_secs(120), self.rx.recv()).await;
            let seen = seen.expect("an epoch comes to something").expect("the watcher runs");
            let reading = seen.validators[0].reading.clone();
            println!("epoch {:?}: {} ({}), chain {:?}", seen.epoch, reading.verdict, reading.why, seen.chain.health);
            if let Some(epoch) = seen.epoch {
                return (epoch.0, reading, seen.chain.health);
            }
        }
    }

    /// What was said while nobody listened is old: the next epoch counts as the first.
    fn forget(&mut self) {
        while self.rx.try_recv().is_ok() {}
    }

    /// Waits so many epochs at most for this verdict.
    async fn until(&mut self, verdict: Verdict, epochs: usize) -> Result<Reading, Invalid> {
        let mut last = None;
        for _ in 0..epochs {
            let (_, reading, _) = self.epoch().await;
            if reading.verdict == verdict {
                return Ok(reading);
            }
            last = Some(reading);
        }
        let last = last.unwrap();
        let late = ["behind", "in time", "too late", "others live, so"].iter().any(|text| last.why.contains(text));
        if last.verdict == Verdict::Unknown && late {
            return Err(Invalid(last.why.to_string()));
        }
        panic!("not {verdict} within {epochs} epochs, but {}: {}", last.verdict, last.why);
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn the_chain_shows_who_is_dead_and_never_takes_a_sick_node_for_it() {
    if let Err(Invalid(why)) = story().await {
        println!("this run says nothing ({why}): a slot came late; once more");
        if let Err(Invalid(why)) = story().await {
            panic!("invalid twice: this machine is too busy for four-second slots ({why})");
        }
    }
}

/// The canonical chain has none of their duties in the epochs since, once those are final.
async fn duties_are_missed(node: &NodeConfig, keys: &[PublicKey], killed_at: Time) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // The first whole epoch without them is final four epochs after its beginning in good times, which are two minutes.
    let until = Instant::now() + Duration::from_secs(300);
    let mut last = String::new();
    while Instant::now() < until {
        let said = missed(node, None, keys, killed_at, Duration::from_secs(5), &clock).await;
        last = format!("{said:?}");
        match said {
            Ok(MissedDuties { epochs, made, missed, control_made }) if epochs > 0 => {
                println!("since they were killed: {last}");
                assert!(made == 0 && missed == keys.len() * usize::try_from(epochs).unwrap() && control_made, "{last}");
                return;
            }
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_secs(4)).await,
        }
    }
    panic!("no epoch since they were killed is final: {last}");
}

async fn story() -> Result<(), Invalid> {
    let devnet = Devnet::up_with_a_block(Network::mine().await).await;
    let keys = devnet.our_keys().await;
    assert_eq!(keys.len(), 8);
    let node = NodeConfig { name: "home".into(), url: devnet.beacon().parse().unwrap() };
    let mut watch = Watch::start(node.clone(), keys.clone());

    // Epochs 0 and 1 may be watched in part only; Prysm starts slowly.
    let up = watch.until(Verdict::Up, 6).await?;
    assert!(up.why.contains("32 of 32 others live") || up.why.contains("31 of 32"), "{}", up.why);
    let seen = probe(&node, None, &keys, Duration::from_secs(5), Arc::new(SystemClock)).await;
    assert!(seen.version.as_ref().is_ok_and(|version| version.contains("Prysm")), "{seen:?}");
    assert_eq!(seen.keys.as_ref().map(|keys| (keys.active, keys.missing)), Ok((8, 0)), "{seen:?}");

    let path = WholePath::start(&devnet.beacon(), &keys).await;
    watch.forget();

    // Killed in epoch N: N+1 is the first complete one; it is judged at the end of N+2. Three looks, two epochs.
    devnet.stop("ours");
    let killed_at = Time::now();
    path.fire().await;
    let down = watch.until(Verdict::Down, 3).await?;
    assert!(down.about.to > killed_at, "it is about a time when they were dead: {down:?}");

    path.one_machine().await;
    drop(path);
    duties_are_missed(&node, &keys, killed_at).await;
    watch.forget();

    devnet.run(&["ours"], &["ours", "1"]);
    let back_at = Time::now();
    let back = watch.until(Verdict::Up, 4).await?;
    assert!(back.about.to > back_at, "it is about a time when they were back: {back:?}");

    devnet.stop("geth1");
    let unknown = watch.until(Verdict::Unknown, 3).await?;
    println!("without its execution layer: {}", unknown.why);
    // Nobody can attest to anything now; that must never look like our death.
    for _ in 0..2 {
        let (epoch, reading, _) = watch.epoch().await;
        assert_eq!(reading.verdict, Verdict::Unknown, "epoch {epoch}: {}", reading.why);
    }

    devnet.stop("beacon1");
    let (_, reading, health) = watch.epoch().await;
    assert_eq!((reading.verdict, health), (Verdict::Unknown, ChainHealth::Unknown), "{}", reading.why);
    assert_eq!(&*reading.why, "its node refuses connections");
    watch.stop().await;
    Ok(())
}
