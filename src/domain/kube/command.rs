//! Whether a workload starts what signs through the gate, by the command in its template.

/// What one container is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerCommand {
    pub container: String,
    /// `None`: its image decides, which nobody here knows.
    pub command: Option<String>,
}

const GATE: &str = "failover-gate";

/// Whether the container that signs begins with the gate. `signing`: its name; without it any container may be it, and
/// none of them is behind a gate only when that is known of all. `None`: not known.
#[must_use]
pub fn starts_through_gate(commands: &[ContainerCommand], signing: Option<&str>) -> Option<bool> {
    let mut asked = commands.iter().filter(|it| signing.is_none_or(|signing| it.container == signing)).peekable();
    asked.peek()?;
    let judged: Vec<Option<bool>> = asked
        .map(|it| it.command.as_deref().map(|command| command == GATE || command.ends_with(&format!("/{GATE}"))))
        .collect();
    match judged.contains(&Some(true)) {
        true => Some(true),
        false if judged.contains(&None) => None,
        false => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_that_signs_has_to_begin_with_the_gate() {
        let of = |commands: &[(&str, &str)], signing| {
            let commands: Vec<_> = commands
                .iter()
                .map(|(container, command)| ContainerCommand {
                    container: (*container).into(),
                    command: Some((*command).to_owned()).filter(|command| !command.is_empty()),
                })
                .collect();
            starts_through_gate(&commands, signing)
        };
        assert_eq!(of(&[("vc", "/gate/failover-gate"), ("bn", "lighthouse")], Some("vc")), Some(true));
        assert_eq!(of(&[("vc", "failover-gate")], Some("vc")), Some(true));
        assert_eq!(of(&[("vc", "lighthouse"), ("bn", "/gate/failover-gate")], Some("vc")), Some(false), "another one");
        assert_eq!(of(&[("vc", "/gate/not-failover-gate")], None), Some(false));
        assert_eq!(of(&[("vc", "sh"), ("bn", "/gate/failover-gate")], None), Some(true));
        assert_eq!(of(&[("vc", "sh"), ("bn", "")], None), None, "what an image starts is not known");
        assert_eq!(of(&[("vc", "")], Some("vc")), None);
        assert_eq!(of(&[("bn", "lighthouse")], Some("vc")), None, "it is not there");
        assert_eq!(of(&[], None), None);
    }
}
