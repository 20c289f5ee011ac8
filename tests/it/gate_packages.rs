//! What the packages of the gate set is what it takes: a misspelt variable would be passed over in silence.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use clap::CommandFactory as _;
use failover::gate::options::GateCli;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PREFIX: &str = "FAILOVER_GATE_";

/// The variables of `run`, and their words where they have a list of them; none for one that is true or false.
fn options() -> BTreeMap<String, Option<Vec<String>>> {
    let cli = GateCli::command();
    let run = cli.find_subcommand("run").unwrap();
    let words = |option: &clap::Arg| {
        let all = option.get_possible_values();
        option.get_action().takes_values().then(|| all.iter().map(|it| it.get_name().to_owned()).collect())
    };
    run.get_arguments().filter_map(|it| Some((it.get_env()?.to_str().unwrap().to_owned(), words(it)))).collect()
}

fn files(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(fs::read_to_string(path).unwrap()) }
    }
}

/// Every variable that these files name.
fn variables(folder: &str) -> BTreeSet<String> {
    let mut texts = Vec::new();
    files(&Path::new(ROOT).join(folder), &mut texts);
    let name = |text: &str| text.chars().take_while(|&c| c.is_ascii_uppercase() || c == '_').collect::<String>();
    texts.iter().flat_map(|text| text.match_indices(PREFIX).map(move |(at, _)| name(&text[at..]))).collect()
}

#[test]
fn every_variable_of_the_examples_is_an_option_of_the_gate() {
    let known = options();
    let named = variables("docs/examples/gate");
    assert!(named.len() >= 8, "{named:?}");
    for name in named.iter().chain(&variables("charts/gate")) {
        assert!(known.contains_key(name), "{name}");
    }
}

#[test]
fn the_role_sets_every_option_of_a_gate_and_no_other() {
    let template = fs::read_to_string(format!("{ROOT}/ansible/roles/gate/templates/environment.j2")).unwrap();
    // It makes each name of a key, and writes none itself.
    assert_eq!(variables("ansible/roles/gate"), BTreeSet::from([PREFIX.to_owned()]));
    let own = template
        .lines()
        .filter(|line| !line.contains("set words"))
        .filter_map(|line| line.trim_start().split_once("': "));
    let own: BTreeSet<_> = own.filter_map(|(key, _)| key.rsplit('\'').next()).map(str::to_owned).collect();
    assert!(own.contains("validator") && own.contains("public_keys_file"), "{own:?}");

    let specs = fs::read_to_string(format!("{ROOT}/ansible/roles/gate/meta/argument_specs.yml")).unwrap();
    let settings = specs.split_once("gate_settings:\n").unwrap().1.split_once("        options:\n").unwrap().1;
    let settings: BTreeMap<_, _> = settings
        .lines()
        .map_while(|line| line.strip_prefix("          "))
        .map(|line| line.split_once(": ").unwrap())
        .collect();

    let variable = |key: &str| format!("{PREFIX}{}", key.to_uppercase());
    let known = options();
    let set: BTreeSet<_> = own.iter().map(String::as_str).chain(settings.keys().copied()).map(variable).collect();
    assert_eq!(set, known.keys().cloned().collect());
    for (key, spec) in settings {
        let words = &known[&variable(key)];
        assert_eq!(spec.contains("type: bool"), words.is_none(), "{key}: {spec}");
        let spec = spec.replace('"', "");
        let listed = |word: &String| spec.split(['[', ']', ',', ' ']).any(|it| it == word);
        assert!(words.iter().flatten().all(listed), "{key}: {spec} has not all of {words:?}");
    }
}
