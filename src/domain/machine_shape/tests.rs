use super::*;

fn standby() -> MachineShape {
    MachineShape {
        name: "fo-eth-0-1a2b3c4d".into(),
        power: MachinePower::Running,
        deletion_protection: false,
        run_limit: Some(RunLimit::After(Span::from_hours(72))),
        auto_delete: [("boot".to_owned(), true), ("chaindata".to_owned(), true)].into(),
        role: Some("standby".into()),
        ssh_tag: false,
        metadata: BTreeMap::new(),
    }
}

/// What the cloud would show after this step; `None` when it refuses it.
fn after(shape: &MachineShape, step: &ShapeStep) -> Option<MachineShape> {
    if step.needs_stop() && shape.power != MachinePower::Terminated {
        return None;
    }
    let mut next = shape.clone();
    match step.clone() {
        ShapeStep::Protect(on) => next.deletion_protection = on,
        ShapeStep::Stop => next.power = MachinePower::Terminated,
        ShapeStep::Limit(limit) => next.run_limit = limit,
        ShapeStep::AutoDelete { device, on } => {
            next.auto_delete.insert(device, on);
        }
        ShapeStep::Role(role) => next.role = role,
        ShapeStep::SshTag(on) => next.ssh_tag = on,
        ShapeStep::Metadata(items) => next.metadata.extend(items),
        ShapeStep::Rename(name) => next.name = name,
        ShapeStep::Start => next.power = MachinePower::Running,
    }
    Some(next)
}

/// All shapes between the two, both included.
fn way(from: &MachineShape, to: &MachineShape) -> Vec<MachineShape> {
    let mut shapes = vec![from.clone()];
    for step in from.missing(to) {
        let last = shapes.last().unwrap();
        let next = after(last, &step).unwrap_or_else(|| panic!("{step} of {last:?}"));
        assert!(!last.has(&step) && next.has(&step), "{step} of {last:?}");
        shapes.push(next);
    }
    shapes
}

fn words(steps: &[ShapeStep]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

#[test]
fn a_promotion_protects_first_renames_last_of_a_stopped_machine_and_starts_it() {
    let steps = standby().missing(&standby().promoted("7"));
    assert_eq!(
        words(&steps),
        [
            "deletion protection on",
            "stop",
            "clear the run limit",
            "disk boot stays without the machine",
            "disk chaindata stays without the machine",
            "label role=promoted",
            "metadata failover-promoted",
            "network tag failover-ssh",
            "rename to kept-eth-0-1a2b3c4d",
            "start",
        ]
    );
    let promoted = way(&standby(), &standby().promoted("7")).pop().unwrap();
    assert_eq!(promoted, standby().promoted("7"));
    assert_eq!(promoted.missing(&standby().promoted("7")), []);
}

/// From any shape that a promotion passes through, both ends are reached, and never does a machine that is unprotected
/// or running differ from one of the two ends in what keeps it safe or bounds its costs.
#[test]
fn from_every_point_of_the_way_resume_and_abort_reach_their_ends_safely() {
    let (before, promoted) = (standby(), standby().promoted("7"));
    let mut points = 0;
    for point in way(&before, &promoted) {
        for goal in [promoted.clone(), before.restored(), before.restored().stopped()] {
            let shapes = way(&point, &goal);
            assert_eq!(shapes.last().unwrap().missing(&goal), [], "{point:?}");
            for shape in &shapes {
                points += 1;
                if !shape.deletion_protection {
                    let old = before.restored().missing(shape);
                    assert!(old.iter().all(|step| *step == ShapeStep::Stop), "unprotected and half done: {shape:?}");
                }
                if shape.power == MachinePower::Running && shape.name != before.name {
                    assert_eq!(shape.run_limit, None, "kept, and the cloud would stop it: {shape:?}");
                }
                if shape.power == MachinePower::Running && !shape.deletion_protection {
                    assert!(shape.run_limit.is_some(), "nobody bounds its costs: {shape:?}");
                }
            }
        }
    }
    assert!(points > 100, "{points}");
}

#[test]
fn a_machine_is_not_stopped_for_what_can_be_changed_while_it_runs() {
    let promoted = standby().promoted("7");
    let mut wanted = promoted.clone();
    wanted.metadata.insert("failover-grant".into(), Some("signed".into()));
    assert_eq!(words(&promoted.missing(&wanted)), ["metadata failover-grant"]);
    wanted.metadata.insert("failover-promoted".into(), None);
    assert_eq!(words(&promoted.missing(&wanted)), ["metadata failover-grant, failover-promoted"]);
}

#[test]
fn what_an_end_does_not_name_stays_and_what_a_promotion_has_added_goes_again() {
    let mut seen = standby().promoted("7");
    seen.metadata.insert("failover-watermark".into(), Some("{}".into()));
    assert_eq!(seen.missing(&standby().promoted("7")), [], "a watermark is no fault of step 3");
    let back = seen.missing(&standby().restored());
    let gone = ["failover-promoted", "failover-watermark"].map(|key| (key.to_owned(), None));
    assert!(back.contains(&ShapeStep::Metadata(gone.into())), "{back:?}");
    assert_eq!(back.last(), Some(&ShapeStep::Protect(false)));
}

#[test]
fn only_a_standbys_name_becomes_another_and_it_fits() {
    assert_eq!(kept_name("fo-eth-0-1a2b3c4d"), "kept-eth-0-1a2b3c4d");
    assert_eq!(kept_name("kept-eth-0-1a2b3c4d"), "kept-eth-0-1a2b3c4d");
    assert_eq!(kept_name("mine"), "mine");
    let longest = super::super::ValidatorId::new(&"v".repeat(32)).unwrap();
    let name = super::super::machine_name(
        &longest,
        super::super::IncidentId::derive(&longest, super::super::Time::UNIX_EPOCH),
    );
    assert!(kept_name(&name).len() <= 63 && name.starts_with(STANDBY_PREFIX));
}
