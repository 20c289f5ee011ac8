//! The runbook as people ask for it.

use std::fs;

use super::rig::House;

#[test]
fn without_a_page_all_three_are_printed_and_with_one_it_alone() {
    let house = House::new("");
    let all = house.run(&["runbook", "eth-0"]);
    let titles = |text: &str| text.lines().filter(|line| line.starts_with("RUNBOOK --")).count();
    assert_eq!((all.code, titles(&all.out)), (0, 3), "{}", all.err);
    for page in ["--lose", "--promote", "--go-back"] {
        let one = house.run(&["runbook", "eth-0", page]);
        assert_eq!((one.code, titles(&one.out)), (0, 1));
        assert!(one.out.starts_with(&format!("RUNBOOK {page}: ")), "{}", one.out);
        assert!(one.out.lines().count() <= 120, "{}", one.out.lines().count());
    }
    assert_eq!(house.run(&["runbook", "eth-0", "--lose", "--promote"]).code, 2);
}

#[test]
fn a_runbook_is_written_into_a_new_file_and_never_over_another() {
    let house = House::new("");
    let file = house.folder.path().join("runbook.md");
    let write = |page: &str| house.run(&["runbook", "eth-0", page, "--markdown", "--out", file.to_str().unwrap()]);
    assert_eq!((write("--lose").code, write("--lose").code), (0, 0));
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.starts_with("## RUNBOOK --lose") && written.contains("```sh"), "{written}");
    let other = write("--go-back");
    assert!(other.code == 1 && other.err.contains("is there already and says something else"), "{}", other.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
}

#[test]
fn a_home_client_is_named_in_any_case_or_refused_with_those_there_are() {
    let house = House::new("");
    let said = house.run(&["runbook", "eth-0", "--lose", "--client", "TEKU"]);
    assert!(said.out.contains("teku slashing-protection export") && !said.out.contains("lodestar"), "{}", said.out);
    let refused = house.run(&["runbook", "eth-0", "--client", "geth"]);
    assert!(refused.code == 2 && refused.err.contains("lighthouse, prysm, teku, nimbus, lodestar"), "{}", refused.err);
}

/// On the day the ledger may be where nobody can reach it.
#[test]
fn a_ledger_that_does_not_answer_keeps_nobody_from_reading() {
    let house = House::new("");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let text = fs::read_to_string(house.config()).unwrap();
    let gone = format!("{{gcs: {{bucket: bbb, credentials: anonymous, endpoint: 'http://127.0.0.1:{port}'}}}}");
    house.write(&text.replace("{sqlite: {path: ledger.sqlite}}", &gone));
    let page = house.run(&["runbook", "eth-0", "--go-back"]);
    let words = page.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(page.code == 0 && words.contains("Machine: none, and none can be created"), "{words}");
}
