//! When the runbook is mailed.

use crate::domain::{
    Delivery, Event, NoticeKind, Owner, Policy, Time, Validator, ValidatorId, World, runbook::MailedRunbook, step,
};

struct Watcher {
    id: ValidatorId,
    world: World,
    policy: Policy,
}

impl Watcher {
    fn new(mail_to: &[&str]) -> Self {
        let id = ValidatorId::new("eth-0").unwrap();
        let world = World::new([(id.clone(), Validator::default())]);
        let mail_to = mail_to.iter().map(ToString::to_string).collect();
        Self { id, world, policy: Policy { mail_to, ..Policy::default() } }
    }

    fn writes(&mut self, text: &str) {
        let runbook = MailedRunbook { lines: vec![text.to_owned()], digest: text.to_owned() };
        self.policy.runbooks = [(self.id.clone(), runbook)].into();
    }

    /// Whether the record was changed by it.
    fn happen(&mut self, event: Event) -> bool {
        let mut decision = step(&self.world, &event, Time::constant(1_767_225_600, 0), &self.policy).unwrap();
        let changed = decision.record.is_some();
        self.world.commit(Some(&self.id), &mut decision);
        changed
    }

    fn sees(&mut self, owner: Owner) -> bool {
        self.happen(Event::OwnerSeen(self.id.clone(), owner))
    }

    fn restarts(&mut self) {
        let record = self.world.get(&self.id).unwrap().record.clone();
        let kept: Validator = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
        self.world = World::new([(self.id.clone(), kept.after_restart())]);
    }

    /// The texts that wait to be sent.
    fn outbox(&self) -> Vec<String> {
        let waiting = self.world.get(&self.id).unwrap().record.outbox.iter();
        let text = |kind: &NoticeKind| match kind {
            NoticeKind::Runbook(runbook) => Vec::from(runbook.text.clone()).concat(),
            other => other.topic().to_string(),
        };
        waiting.map(|mail| text(&mail.notice.kind)).collect()
    }

    fn delivers_all(&mut self) {
        let ids: Vec<_> = self.world.get(&self.id).unwrap().record.outbox.iter().map(|mail| mail.notice.id).collect();
        for id in ids {
            let delivery = Delivery { accepted: self.policy.mail_to.clone(), refused: Vec::new() };
            self.happen(Event::MailSettled(self.id.clone(), id, delivery));
        }
    }
}

#[test]
fn a_runbook_is_mailed_once_there_is_a_grant_and_again_only_when_it_changes() {
    let mut watcher = Watcher::new(&["me@x"]);
    watcher.writes("first");
    assert!(!watcher.sees(Owner::Unknown) && watcher.outbox().is_empty(), "nobody has adopted it");
    watcher.sees(Owner::Home);
    assert_eq!(watcher.outbox(), ["first"]);
    assert!(!watcher.sees(Owner::Home), "a record that is not changed is not written");
    watcher.delivers_all();
    watcher.restarts();
    assert!(!watcher.sees(Owner::Home) && watcher.outbox().is_empty(), "a restart is no change");
    watcher.writes("second");
    watcher.sees(Owner::Home);
    assert_eq!(watcher.outbox(), ["second"]);
    watcher.writes("first");
    watcher.sees(Owner::Home);
    assert_eq!(watcher.outbox(), ["first"], "only the newest waits for a server that is down");
}

#[test]
fn a_runbook_that_nobody_asked_for_is_not_mailed() {
    let mut watcher = Watcher::new(&["me@x"]);
    watcher.sees(Owner::Home);
    assert_eq!(watcher.outbox(), [""; 0]);
    assert!(!watcher.sees(Owner::Home));
}
