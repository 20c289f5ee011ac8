//! What an incident has cost when machines were given up: a machine costs until a complete look shows that it is gone,
//! whatever a deletion or an earlier look has said.
//!
//! A dollar a minute, so that the bill says for how long each machine was paid.

use failover::simulate;

/// The standby of five o'clock (machine 101) never boots, is given up and said to be deleted at a quarter past.
const GIVEN_UP: &str = "
policy mode armed
policy simulated no
policy observe_every 10m
policy recheck_every 10m
policy boot_deadline 10m
policy max_boot_attempts 3
policy retry_after 1s
policy retry_cap 1s
ladder us-central1-a n2-standard-8 60
0s      alert eth-0 down
0s      chain eth-0 down about=-6m..0s
5m      answer eth-0 found none
5m      answer eth-0 created
5m      answer eth-0 found running
5m      answer eth-0 seen running
15m     answer eth-0 found running
15m     answer eth-0 seen running
15m     answer eth-0 console hung
15m     expect eth-0 asked \"abandon 101\"
15m     answer eth-0 deleted
";

/// Runs it on, and what the end says of the bill.
#[track_caller]
fn closed(rest: &str) -> String {
    cost_of(&format!("{GIVEN_UP}{rest}"))
}

#[track_caller]
fn cost_of(scenario: &str) -> String {
    let scenario = simulate::parse(scenario).unwrap();
    let report = simulate::run(&scenario);
    assert!(report.failures.is_empty(), "{}\n{}", report.transcript, report.failures.join("\n"));
    let line = report.transcript.lines().find(|line| line.contains(" closed: "));
    line.unwrap_or_else(|| panic!("it is closed:\n{}", report.transcript)).to_owned()
}

#[test]
fn the_bill_of_a_given_up_machine_ends_when_a_complete_look_shows_that_it_is_gone() {
    let line = closed(
        "
        15m     answer eth-0 found none
        15m     answer eth-0 created
        15m     answer eth-0 found running
        15m     answer eth-0 seen running report counter=1
        25m     request eth-0 close
        25m     answer eth-0 found running
        35m     answer eth-0 deleted
        35m     answer eth-0 found none
        35m     answer eth-0 disks none
        ",
    );
    assert!(line.contains("it has cost about $30.00"), "10 minutes of the first and 20 of the second: {line}");
}

#[test]
fn a_machine_that_was_to_be_given_up_and_lives_is_billed_as_what_it_is() {
    let dearer = "60\nladder us-central1-b n2-standard-8 6000\n";
    let begun = GIVEN_UP.replacen("60\n", dearer, 1).replace("answer eth-0 deleted", "answer eth-0 untouchable");
    let line = cost_of(&format!(
        "{begun}
        16m     expect eth-0 phase needs human
        16m     request eth-0 close
        17m     answer eth-0 found running
        25m     answer eth-0 deleted
        25m     answer eth-0 found none
        25m     answer eth-0 disks none
        ",
    ));
    assert!(line.contains("it has cost about $20.00"), "twenty minutes of the first: {line}");
}

#[test]
fn a_deletion_that_is_only_said_and_a_look_that_fails_do_not_end_the_bill() {
    let line = closed(
        "
        15m     answer eth-0 failed
        20m     answer eth-0 found running
        21m     answer eth-0 deleted
        30m     answer eth-0 found running
        31m     answer eth-0 deleted
        45m     answer eth-0 found none
        45m     answer eth-0 refused
        46m     request eth-0 close
        47m     answer eth-0 found none
        47m     answer eth-0 disks none
        ",
    );
    assert!(line.contains("it has cost about $40.00"), "from the 5th minute to the 45th: {line}");
}

#[test]
fn a_bill_that_had_ended_goes_on_when_the_machine_is_listed_again() {
    let line = closed(
        "
        15m     answer eth-0 found none
        20m     answer eth-0 exists
        25m     answer eth-0 found running
        26m     expect eth-0 asked \"abandon 101\"
        30m     answer eth-0 deleted
        35m     answer eth-0 found none
        35m     answer eth-0 refused
        36m     request eth-0 close
        37m     answer eth-0 found none
        37m     answer eth-0 disks none
        ",
    );
    assert!(line.contains("it has cost about $30.00"), "from the 5th minute to the 35th: {line}");
}

#[test]
fn a_given_up_machine_that_shows_beside_the_next_one_is_deleted_and_billed_until_then() {
    let line = closed(
        "
        15m     answer eth-0 found none
        15m     answer eth-0 created
        15m     answer eth-0 found running=102
        15m     answer eth-0 seen running report counter=1
        25m     answer eth-0 found running=102 running=101
        25m     expect eth-0 asked \"delete 101\"
        30m     answer eth-0 deleted
        30m     answer eth-0 found running=102
        30m     request eth-0 close
        35m     answer eth-0 found running=102
        35m     answer eth-0 deleted
        35m     answer eth-0 found none
        35m     answer eth-0 disks none
        ",
    );
    assert!(line.contains("it has cost about $45.00"), "25 minutes of the first and 20 of the second: {line}");
}

#[test]
fn a_given_up_machine_that_shows_at_the_release_is_billed_until_then() {
    let line = closed(
        "
        15m     answer eth-0 found none
        15m     answer eth-0 refused
        16m     answer eth-0 found none
        16m     answer eth-0 refused
        16m     request eth-0 close
        20m     answer eth-0 found running=101
        30m     answer eth-0 deleted
        30m     answer eth-0 found none
        30m     answer eth-0 disks none
        ",
    );
    assert!(line.contains("it has cost about $25.00"), "from the 5th minute to the 30th: {line}");
}
