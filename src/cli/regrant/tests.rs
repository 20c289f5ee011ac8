use std::{collections::VecDeque, sync::Mutex};

use async_trait::async_trait;
use tokio::time::Instant;

use super::*;
use crate::{
    domain::{ActionId, CreateOutcome, Machine, MachineState, Report, Role, StandbySpec},
    ports::{CloudError, Observed, Unpromoted},
};

const EVERY: Duration = Duration::from_secs(20);

/// A machine of which each look shows the next of these, and the last one again and again.
struct Shown(Mutex<VecDeque<Option<(&'static str, u64)>>>);

impl Shown {
    fn new(looks: &[Option<(&'static str, u64)>]) -> Self {
        Self(Mutex::new(looks.iter().copied().collect()))
    }

    /// The boot that a regrant is for, or why there is none, and how long it took.
    async fn boot(&self) -> (Result<String, String>, Duration) {
        let since = Instant::now();
        let granted = GrantPlace::Cloud {
            project: "p".into(),
            zone: "z".into(),
            instance_id: InstanceId::from(7),
            boot_id: "first".into(),
        };
        let boot = boot_now(self, &instance(), &granted, EVERY).await;
        (boot.map_err(|error| format!("{error:#}")), since.elapsed())
    }
}

fn instance() -> InstanceRef {
    InstanceRef { zone: "z".into(), name: "eth-0".into(), id: InstanceId::from(7) }
}

#[async_trait]
impl Machines for Shown {
    async fn find(&self, _: &Scope) -> Result<Vec<Machine>, CloudError> {
        panic!("it is known which one");
    }

    async fn create(&self, _: &StandbySpec, _: uuid::Uuid) -> CreateOutcome {
        panic!("nothing is created");
    }

    async fn observe(&self, looked_at: &InstanceRef) -> Result<Option<Observed>, CloudError> {
        assert_eq!(*looked_at, instance());
        let mut looks = self.0.lock().unwrap();
        let shown = if looks.len() > 1 { looks.pop_front().unwrap() } else { looks[0] };
        Ok(shown.map(|(boot, counter)| {
            let machine = Machine {
                instance: instance(),
                validator: "eth-0".into(),
                incident: String::new(),
                ledger: String::new(),
                role: Role::Promoted,
                state: MachineState::Running,
                deletion_protection: true,
                machine_type: "t".into(),
                created_at: None,
            };
            Observed { machine, written: Report { boot_id: boot.into(), counter, ..Report::default() }.into() }
        }))
    }

    async fn delete(&self, _: &ActionId, _: &Unpromoted) -> Result<(), CloudError> {
        panic!("nothing is deleted");
    }
}

#[tokio::test(start_paused = true)]
async fn a_boot_that_the_grant_does_not_name_is_taken_at_once() {
    let (boot, took) = Shown::new(&[Some(("second", 1))]).boot().await;
    assert_eq!((boot, took), (Ok("second".into()), Duration::ZERO));
}

/// The metadata keep the last report of the boot before until the agent of the new one writes.
#[tokio::test(start_paused = true)]
async fn the_report_of_the_boot_before_is_waited_out() {
    let old = Some(("first", 40));
    let (boot, took) = Shown::new(&[old, old, old, Some(("second", 1))]).boot().await;
    assert_eq!((boot, took), (Ok("second".into()), EVERY * 3));
    // It reports on, so it has not booted: the grant is for this boot already.
    let (boot, took) = Shown::new(&[old, Some(("first", 41))]).boot().await;
    assert_eq!((boot, took), (Ok("first".into()), EVERY));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_reports_nothing_new_or_is_gone_gets_no_boot_and_says_what_to_do() {
    let (boot, took) = Shown::new(&[Some(("first", 40))]).boot().await;
    let error = boot.unwrap_err();
    assert!(error.contains("has reported nothing new for 120s") && error.contains("--boot-id"), "{error}");
    assert_eq!(took, EVERY * 6, "and the wait ends");
    let (boot, _) = Shown::new(&[Some(("first", 40)), None]).boot().await;
    assert!(boot.unwrap_err().contains("is gone: nothing was changed"));
    let (boot, _) = Shown::new(&[None]).boot().await;
    assert!(boot.unwrap_err().contains("reports nothing"));
}
