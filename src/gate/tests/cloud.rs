//! The gate on the machine in the cloud.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::{sync::watch, time::sleep};

use super::{CHAIN, MINUTE, Running, SECOND, Signatory, World, at_home, eth_0, fakes::*, grant, in_cloud};
use crate::{
    domain::{
        InstanceId,
        gate::{GatePhase, WaitKind},
        ownership::Grant,
    },
    gate::{
        child::ChildEnd,
        cloud::{CloudLoop, CloudSettings, GrantSource, MachineIdentity},
        state::{GateParts, first_status},
    },
    ports::Duties,
};

#[derive(Clone)]
struct Vm {
    instance: Arc<Mutex<Result<InstanceId, String>>>,
    boot: String,
    grants: Arc<Mutex<Vec<Vec<u8>>>>,
    folder: Arc<Folder>,
    clocks: Clocks,
}

#[async_trait]
impl MachineIdentity for Vm {
    async fn instance(&self) -> Result<InstanceId, String> {
        self.instance.lock().unwrap().clone()
    }

    fn boot(&self) -> Result<String, String> {
        Ok(self.boot.clone())
    }
}

#[async_trait]
impl GrantSource for Vm {
    async fn candidates(&self) -> Vec<Result<Vec<u8>, String>> {
        self.grants.lock().unwrap().iter().cloned().map(Ok).collect()
    }
}

impl Vm {
    fn new(world: &World) -> Self {
        Self {
            instance: Arc::new(Mutex::new(Ok(7.into()))),
            boot: "first".into(),
            grants: Arc::default(),
            folder: Arc::default(),
            clocks: Clocks::new(world.base, 1_000_000),
        }
    }

    fn carry(&self, grants: &[Vec<u8>]) {
        *self.grants.lock().unwrap() = grants.to_vec();
    }

    fn start(&self, world: &World) -> Running {
        let settings = CloudSettings { validator: eth_0(), chain: CHAIN.into(), allow_untouched: false };
        let child = FakeChild::new(&self.clocks, &world.family, &world.twice);
        let (status, watched) = watch::channel(first_status(eth_0(), "cloud", start()));
        let parts = GateParts {
            duties: Some(world.duties.clone() as Arc<dyn Duties>),
            memory: Box::new(self.folder.clone()),
            raw: self.clocks.raw(),
            clock: Arc::new(self.clocks.clone()),
            status,
        };
        let signers = world.signers.clone();
        let signers = Box::new(move || signers.lock().unwrap().clone());
        let (machine, grants) = (Box::new(self.clone()), Box::new(self.clone()));
        let gate = CloudLoop::new(settings, Box::new(child.clone()), signers, machine, grants, parts);
        Running::new(child, watched, |cancel| tokio::spawn(gate.run(cancel)))
    }
}

fn signed(world: &World, number: u64, boot: &str) -> Vec<u8> {
    world.signatory.sign(grant(number, in_cloud(boot))).bytes()
}

#[tokio::test(start_paused = true)]
async fn it_starts_by_a_grant_for_this_boot_of_this_machine_without_a_ledger_and_stays_up() {
    let world = World::empty(Bucket::default());
    let vm = Vm::new(&world);
    let gate = vm.start(&world);
    sleep(MINUTE).await;
    let (kind, why) = gate.waits();
    assert!(kind == WaitKind::Grant && why.contains("no grant has come for this boot (first)"), "{why}");
    vm.carry(&[signed(&world, 9, "first")]);
    sleep(11 * SECOND).await;
    assert!(gate.runs(), "the promotion has waited already");
    sleep(SECOND).await;
    assert!(matches!(gate.status().state, GatePhase::Running { until: None, .. }));
    sleep(30 * 24 * 60 * MINUTE).await;
    assert!(gate.runs() && gate.starts() == 1);
    let child = gate.child.clone();
    assert_eq!((gate.terminate().await, child.runs()), (0, false));
}

#[tokio::test(start_paused = true)]
async fn no_other_grant_starts_it() {
    let world = World::empty(Bucket::default());
    let sign = |grant: Grant| world.signatory.sign(grant).bytes();
    let here = || grant(9, in_cloud("first"));
    for (what, grants, words) in [
        ("another boot", vec![signed(&world, 9, "second")], "failover regrant eth-0"),
        ("home", vec![sign(grant(9, at_home()))], "not for this boot"),
        ("a stranger's", vec![Signatory::new().sign(here()).bytes()], "does not name"),
        ("another chain", vec![sign(Grant { chain: "1".into(), ..here() })], "for the chain 1"),
        ("a newer one for home", vec![signed(&world, 9, "first"), sign(grant(10, at_home()))], "grant 10"),
        (
            "two of one number",
            vec![signed(&world, 9, "first"), sign(Grant { reason: "a rival".into(), ..here() })],
            "number 9",
        ),
        ("none that can be read", vec![vec![b'x'; 1 << 20]], "1048576 bytes"),
    ] {
        for reversed in [false, true] {
            let vm = Vm::new(&world);
            let mut grants = grants.clone();
            if reversed {
                grants.reverse();
            }
            vm.carry(&grants);
            let gate = vm.start(&world);
            sleep(5 * MINUTE).await;
            let (kind, why) = gate.waits();
            assert!(kind == WaitKind::Grant && why.contains(words), "{what}: {kind:?}, {why}");
            assert_eq!(gate.starts(), 0, "{what}");
            gate.terminate().await;
        }
    }
    // A copy of the disk on another machine, and a metadata server that is silent.
    for instance in [Ok(8.into()), Err("no route to host".to_owned())] {
        let vm = Vm::new(&world);
        vm.carry(&[signed(&world, 9, "first")]);
        *vm.instance.lock().unwrap() = instance;
        let gate = vm.start(&world);
        sleep(5 * MINUTE).await;
        assert_eq!((gate.starts(), gate.waits().0), (0, WaitKind::Grant));
        gate.terminate().await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_reboot_it_stays_down_until_another_grant() {
    let world = World::empty(Bucket::default());
    let mut vm = Vm::new(&world);
    vm.carry(&[signed(&world, 9, "first")]);
    let gate = vm.start(&world);
    gate.until_it_runs().await;
    sleep(10 * MINUTE).await;
    gate.kill();
    vm.boot = "second".into();
    let gate = vm.start(&world);
    sleep(60 * MINUTE).await;
    assert_eq!(gate.starts(), 0);
    vm.carry(&[signed(&world, 10, "second"), signed(&world, 9, "first")]);
    gate.until_it_runs().await;
    gate.kill();
    // The old answer alone: what was seen is remembered.
    vm.carry(&[signed(&world, 9, "first")]);
    vm.boot = "first".into();
    let gate = vm.start(&world);
    sleep(60 * MINUTE).await;
    assert_eq!(gate.starts(), 0);
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn after_its_child_has_ended_by_itself_the_chain_has_to_be_silent() {
    let world = World::empty(Bucket::default());
    let vm = Vm::new(&world);
    vm.carry(&[signed(&world, 9, "first")]);
    let gate = vm.start(&world);
    gate.until_it_runs().await;
    sleep(10 * MINUTE).await;
    gate.child.end(ChildEnd::Exited(2));
    assert_eq!(gate.task.await.unwrap(), 2);
    let (ended, _) = world.duties.epoch();
    world.duties.state.lock().unwrap().busy.insert(ended + 1);
    let gate = vm.start(&world);
    gate.until(
        "the duty",
        |gate| matches!(&gate.status().state, GatePhase::Waiting { why, .. } if why.contains("SOMEBODY")),
    )
    .await;
    gate.until_it_runs().await;
    let asked = world.duties.state.lock().unwrap().asked.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>();
    assert_eq!(asked, [ended + 1, ended + 2, ended + 3], "two silent ones after a stranger");
    // A kill costs nothing.
    sleep(60 * MINUTE).await;
    gate.kill();
    let gate = vm.start(&world);
    sleep(2 * SECOND).await;
    assert!(gate.runs());
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn in_the_cloud_an_end_that_nobody_noted_counts_as_an_early_one_unless_the_machine_has_booted_since() {
    for booted in [false, true] {
        let world = World::empty(Bucket::default());
        let vm = Vm::new(&world);
        vm.carry(&[signed(&world, 9, "first")]);
        let gate = vm.start(&world);
        gate.until_it_runs().await;
        sleep(EPOCH).await;
        gate.kill();
        if booted {
            vm.folder.boot();
        }
        let gate = vm.start(&world);
        sleep(2 * SECOND).await;
        assert_eq!(gate.runs(), booted);
        gate.until_it_runs().await;
        assert_eq!(world.duties.state.lock().unwrap().asked.len(), usize::from(!booted));
        gate.terminate().await;
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_cloud_a_start_that_hangs_ends_when_the_gate_is_asked_to_end() {
    let world = World::empty(Bucket::default());
    let vm = Vm::new(&world);
    vm.carry(&[signed(&world, 9, "first")]);
    let gate = vm.start(&world);
    gate.child.log.lock().unwrap().hangs = true;
    sleep(5 * SECOND).await;
    let (child, stopping) = (gate.child.clone(), tokio::spawn(gate.terminate()));
    sleep(SECOND).await;
    assert!(stopping.is_finished());
    assert_eq!((stopping.await.unwrap(), child.log.lock().unwrap().stops), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_loop_in_the_cloud_shows_that_it_turns_as_well() {
    let world = World::new();
    let vm = Vm::new(&world);
    let gate = vm.start(&world);
    for carried in [false, true] {
        for _ in 0..20 {
            sleep(MINUTE / 2).await;
            assert!(vm.clocks.unread() < crate::gate::port::HANGS, "{carried}");
        }
        assert_eq!(gate.runs(), carried);
        vm.carry(&[world.signatory.sign(grant(9, in_cloud("first"))).bytes()]);
    }
    gate.terminate().await;
}
