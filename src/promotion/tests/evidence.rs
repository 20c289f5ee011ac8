//! Evidence by which every gate passes, unless the world says otherwise.

use std::sync::Arc;

use async_trait::async_trait;

use super::world::{TestMachine, TestWorld, instance, seen_by_the_watcher};
use crate::{
    domain::{
        ChainHealth, ChainView, ClockOffset, InstanceRef, Interval, KeyStates, Machine, MachineState, Role, Span, Time,
        TimeExt as _,
        gates::{DutyEpochs, ExportGiven, FenceFacts, GateEvidence, MissedDuties, SilentEpochs},
        ownership::Grant,
    },
    promotion::{GateContext, MadeWatermark, PromotionEvidence},
};

const EPOCH: Span = Span::from_secs(384);

fn present(now: Time) -> u64 {
    u64::try_from(now.as_second()).unwrap() / 384
}

pub struct TestEvidence(pub Arc<TestWorld>);

#[async_trait]
impl PromotionEvidence for TestEvidence {
    async fn gates(&self, known: &GateContext<'_>) -> GateEvidence {
        let now = crate::ports::Clock::now(&self.0.clock);
        let raised = known.record.is_some_and(|record| record.raise.is_some());
        let (home_signs, report) = {
            let state = self.0.state();
            let machine = state.machine.as_ref().filter(|_| !(state.hides_report && raised));
            (state.home_signs(), machine.and_then(TestMachine::report))
        };
        let count = if home_signs { 0 } else { 9 };
        let present = present(now);
        let to = Time::UNIX_EPOCH.plus(Span::from_secs(384 * i64::try_from(present).unwrap()));
        let from = to.minus(EPOCH * 9);
        let machine = Machine {
            instance: InstanceRef { ..instance() },
            validator: "eth-0".into(),
            incident: String::new(),
            ledger: String::new(),
            role: Role::Standby,
            state: MachineState::Running,
            deletion_protection: false,
            machine_type: "t".into(),
            created_at: None,
        };
        let number = known.record.map_or(0, |record| record.number);
        GateEvidence {
            record: Some(seen_by_the_watcher(&self.0)),
            machines: Some(vec![machine]),
            report,
            keys: Some(KeyStates { active: 1, ..KeyStates::default() }),
            chain: ChainView { health: ChainHealth::Finalising, ..ChainView::default() },
            ready_epochs: Some(9),
            silent_outside: Some(SilentEpochs {
                count,
                last: present - 1,
                nodes: 2,
                about: Interval { from, to },
                each: EPOCH,
            }),
            missed: Some(MissedDuties { epochs: 3, made: 0, missed: 9, control_made: true }),
            fence: Some(FenceFacts {
                session: known.session.cloned(),
                silent: known.silent,
                number,
                cloud: Vec::new(),
                duties: Some(DutyEpochs { known: Span::from_hours(48), epochs: 450, with: Vec::new() }),
                records_for: Span::from_hours(24),
                behind_gate: Some(true),
            }),
            export: ExportGiven::None,
            clock_offset: Some(ClockOffset { least_ms: 0, most_ms: 0 }),
            ..GateEvidence::default()
        }
    }

    fn saw_ready(&self, _: Option<&str>, _: std::time::Duration) {}

    async fn is_chain_fine(&self) -> bool {
        true
    }

    async fn watermark(&self, epoch: Option<u64>) -> Result<MadeWatermark, String> {
        if !self.0.state().chain_says {
            return Err("no beacon node is synced".into());
        }
        let epoch = epoch.unwrap_or_else(|| present(crate::ports::Clock::now(&self.0.clock)) + 1);
        Ok(MadeWatermark { epoch, bytes: format!("watermark of {epoch}").into_bytes() })
    }

    async fn duty_since(&self, _: &Grant) -> Option<Time> {
        let state = self.0.state();
        (state.keys_moved && state.cloud_signs()).then(|| crate::ports::Clock::now(&self.0.clock))
    }
}
