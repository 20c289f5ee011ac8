//! What the roles put on a promoted machine is called the same by the RUNBOOK, the page about it and the agent.

use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    failover::files::read_text(&path, failover::files::MOST).unwrap()
}

/// Who else looks for it, and how it is written there; before it where it is made, and how.
type Others = &'static [(&'static str, &'static str)];

#[test]
fn what_people_and_the_agent_look_for_on_a_promoted_machine_is_what_the_roles_put_there() {
    const PAGE: &str = "docs/promoted.md";
    const RUNBOOK: &str = "src/domain/runbook/golden/prysm.txt";
    const DEFAULTS: &str = "ansible/roles/validator/defaults/main.yml";
    const TASKS: &str = "ansible/roles/validator/tasks/main.yml";
    const GATE: &str = "ansible/roles/gate/tasks/main.yml";
    const NAMES: [(&str, &str, Others); 7] = [
        (
            DEFAULTS,
            "validator_folder: /var/lib/failover-validator\n",
            &[(PAGE, "/var/lib/failover-validator/"), (RUNBOOK, "--datadir=/var/lib/failover-validator ")],
        ),
        (
            TASKS,
            "    name: validator\n    uid: 616\n",
            &[
                (PAGE, "`validator` (616)"),
                (RUNBOOK, "sudo -u validator /opt/"),
                ("playbooks/vars/promoted.yml", "gate_user: validator\n"),
                ("playbooks/promoted.yml", "firewall_metadata_uids: [0, 615, 616]\n"),
            ],
        ),
        (
            TASKS,
            "dest: /opt/failover/prysm/validator\n",
            &[(PAGE, "`/opt/failover/prysm/validator`"), (RUNBOOK, "/opt/failover/prysm/validator ")],
        ),
        (
            GATE,
            "/failover-gate-{{ gate_validator }}.service\"",
            &[
                (PAGE, "`failover-gate-VALIDATOR.service`"),
                (PAGE, "enable --now failover-gate-eth-0.service\n"),
                (RUNBOOK, "failover-gate-eth-0.service"),
                ("src/agent/signer.rs", "const GATE_UNIT: &str = \"failover-gate-\";"),
            ],
        ),
        (
            "ansible/roles/gate/templates/environment.j2",
            "'listen': '127.0.0.1:8553',",
            &[("src/agent/config.rs", "\"http://127.0.0.1:8553/\""), ("docs/agent.md", "127.0.0.1:8553")],
        ),
        (
            "playbooks/vars/promoted.yml",
            "grant: \"/etc/failover-gate/{{ standby.validator }}.grant\"",
            &[
                (PAGE, "`/etc/failover-gate/eth-0.grant`"),
                (GATE, "dest: \"{{ gate_folder }}/{{ gate_validator }}.env\""),
            ],
        ),
        (
            "ansible/startup.sh",
            "state=/var/lib/failover\n",
            &[(PAGE, "`/var/lib/failover/promoted`"), ("src/agent/machine.rs", "\"var/lib/failover/promoted\"")],
        ),
    ];
    for (made, how, others) in NAMES {
        assert!(read(made).contains(how), "{made} has no {how}");
        for (other, word) in others {
            assert!(read(other).contains(word), "{other} has no {word}, as {made} makes it");
        }
    }
}
