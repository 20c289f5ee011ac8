//! Lists the machines of this site every so often and sends each validator its own. It judges and deletes nothing: what
//! becomes of a machine that no incident claims is the domain's to decide.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Handle;
use crate::{
    domain::{Event, Listed, ValidatorId},
    ports::{Cloud, Scope},
};

/// Lists until stopped. A list that is not complete is not sent.
pub(super) async fn watch(
    cloud: Arc<dyn Cloud>,
    identity: Uuid,
    validators: Vec<ValidatorId>,
    handle: Handle,
    every: Duration,
    stop: CancellationToken,
) {
    let ledger = identity.to_string();
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
        let machines = match cloud.find(&Scope::Everything).await {
            Ok(machines) => machines,
            Err(error) => {
                tracing::warn!(%error, "machines without an incident are not looked for: the list is not complete");
                if let Some(first) = validators.first() {
                    handle.send(Event::MachinesUnlisted(first.clone(), error.to_string())).await;
                }
                continue;
            }
        };
        for validator in &validators {
            let own = machines.iter().filter(|machine| machine.validator == validator.as_str());
            let listed =
                own.map(|machine| Listed { ours: machine.ledger == ledger, machine: machine.clone() }).collect();
            handle.send(Event::MachinesListed(validator.clone(), listed)).await;
        }
    }
}
