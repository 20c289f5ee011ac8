//! Searching for machines: in all zones with one call or, where some of them do not answer, in each zone of the ladder.

use std::collections::BTreeSet;

use google_cloud_compute_v1::model::{Instance, instance_list::warning::Code};

use super::{Gce, errors::Failure, read};
use crate::{
    domain::Machine,
    ports::{CloudError, IncompleteList, Scope},
};

impl Gce {
    /// The machines of all zones, and whether every zone has answered. The client does not offer `returnPartialSuccess`,
    /// so one bad zone may fail the whole list as well.
    pub(super) async fn everywhere(&self, scope: &Scope) -> Result<(Vec<Machine>, bool), Failure> {
        let (mut machines, mut complete) = (Vec::new(), true);
        let mut token: Option<String> = None;
        loop {
            let request = self
                .instances
                .aggregated_list()
                .set_project(&self.config.project)
                .set_filter(read::filter(&self.config.site, scope))
                .set_or_clear_page_token(token.clone());
            let page = self.bounded(self.once(request).send()).await?;
            complete &= read::is_complete(&page);
            let listed = page.items.into_values().flat_map(|scoped| scoped.instances);
            machines.extend(listed.filter_map(|instance| self.ours(&instance, scope)));
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok((machines, complete));
            }
        }
    }

    /// Every zone in which machines are made, each for itself: a part of the cloud that cannot hold one of ours must not
    /// keep the others from being seen. `found` is what was seen elsewhere.
    pub(super) async fn in_each_zone(
        &self,
        scope: &Scope,
        mut found: Vec<Machine>,
    ) -> Result<Vec<Machine>, CloudError> {
        let zones: BTreeSet<&str> = self.config.ladder.iter().map(|rung| rung.zone.as_str()).collect();
        let lists = zones.iter().map(|zone| self.in_zone(scope, zone));
        let answers = futures::future::join_all(lists).await;
        let (mut unseen, mut missing) = (Vec::new(), Vec::new());
        for (zone, answer) in zones.iter().zip(answers) {
            match answer {
                Ok(machines) => {
                    let is_new = |machine: &Machine| found.iter().all(|known| known.instance.id != machine.instance.id);
                    let new: Vec<Machine> = machines.into_iter().filter(is_new).collect();
                    found.extend(new);
                }
                // A zone that does not exist holds nothing. If none exists, it is the project that is not found.
                Err(Failure::NotFound(said)) => missing.push(said),
                Err(failure) => unseen.push(((*zone).to_owned(), failure)),
            }
        }
        if let Some(said) = missing.first().filter(|_| missing.len() == zones.len()) {
            return Err(CloudError::Refused(said.clone()));
        }
        let Some((_, first)) = unseen.first() else { return Ok(found) };
        if unseen.len() + missing.len() == zones.len() {
            return Err(first.clone().into());
        }
        let why = unseen.iter().map(|(zone, failure)| format!("{zone}: {failure}")).collect::<Vec<_>>().join("; ");
        let unseen_zones = unseen.into_iter().map(|(zone, _)| zone).collect();
        Err(CloudError::Incomplete(Box::new(IncompleteList { found, unseen_zones, why })))
    }

    async fn in_zone(&self, scope: &Scope, zone: &str) -> Result<Vec<Machine>, Failure> {
        let all = self.listed_in(zone, Some(read::filter(&self.config.site, scope))).await?;
        Ok(all.iter().filter_map(|instance| self.ours(instance, scope)).collect())
    }

    /// Every machine of a zone, or those that this filter lets through. Complete or an error.
    pub(super) async fn listed_in(&self, zone: &str, filter: Option<String>) -> Result<Vec<Instance>, Failure> {
        let mut all = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = self
                .instances
                .list()
                .set_project(&self.config.project)
                .set_zone(zone)
                .set_or_clear_filter(filter.clone())
                .set_or_clear_page_token(token.clone());
            let page = self.bounded(self.once(request).send()).await?;
            if page.warning.is_some_and(|warning| warning.code != Some(Code::NoResultsOnPage)) {
                return Err(Failure::Unanswered("its list is not complete".into()));
            }
            all.extend(page.items);
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    fn ours(&self, instance: &Instance, scope: &Scope) -> Option<Machine> {
        read::machine(instance, &self.config.site).filter(|machine| read::in_scope(machine, scope))
    }
}
