//! The gate beside the keys: the kustomize component and both examples of docs/gate.md, built by the real kubectl over
//! workloads of the shapes people have, and taken by the real API server.

use std::{cell::Cell, fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::cluster::{Cluster, run};
use crate::parts::part;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const SHAPES: [Shape; 2] = [
    Shape {
        name: "lighthouse-in-one-pod",
        workload: "lighthouse",
        client: "lighthouse-vc",
        account: "failover-gate-eth-0",
        volume: "chaindata",
    },
    Shape {
        name: "validator-client",
        workload: "vc-lighthouse",
        client: "lighthouse",
        account: "vc-lighthouse",
        volume: "storage",
    },
];

struct Shape {
    name: &'static str,
    workload: &'static str,
    /// The container that holds the keys.
    client: &'static str,
    /// Whose token Google sees.
    account: &'static str,
    /// The volume of the keys.
    volume: &'static str,
}

impl Shape {
    /// What the chart makes.
    fn workload(&self) -> String {
        fs::read_to_string(format!("{ROOT}/tests/real/kube/gate/{}.yaml", self.name)).unwrap()
    }

    /// The example as a user has it, over this workload, in this namespace.
    fn example(&self, workload: &str, namespace: &str, change: impl Fn(&str) -> String) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let examples = folder.path().join("docs/examples");
        fs::create_dir_all(&examples).unwrap();
        run(Command::new("cp").arg("-r").args([format!("{ROOT}/charts"), folder.path().display().to_string()]));
        run(Command::new("cp").arg("-r").arg(format!("{ROOT}/docs/examples/gate")).arg(&examples));
        let own = self.folder(folder.path());
        fs::write(format!("{own}/workload.yaml"), workload).unwrap();
        for file in ["kustomization.yaml", "client/kustomization.yaml", "client/container.yaml"] {
            let text = fs::read_to_string(format!("{own}/{file}")).unwrap();
            let text = change(&text.replace("namespace: eth", &format!("namespace: {namespace}")));
            fs::write(format!("{own}/{file}"), text).unwrap();
        }
        folder
    }

    fn folder(&self, root: &Path) -> String {
        root.join("docs/examples/gate").join(self.name).display().to_string()
    }
}

/// What the API server would store, without storing it.
fn taken(cluster: &Cluster, namespace: &str, from: &[&str]) -> Vec<Value> {
    let how = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--output=json", "--namespace"];
    let said = cluster.kubectl(&[&how[..], &[namespace], from].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    said["items"].as_array().cloned().unwrap_or_else(|| vec![said])
}

fn one(all: &[Value], kind: &str, name: &str) -> Value {
    let found: Vec<_> = all.iter().filter(|it| it["kind"] == kind && it["metadata"]["name"] == name).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0].clone()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The element of a list that has this name.
fn named<'a>(value: &'a Value, name: &str) -> &'a Value {
    list(value).iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("no {name} in {value:#}"))
}

fn namespace(cluster: &Cluster) -> String {
    let namespace = cluster.name("gate");
    cluster.kubectl(&["create", "namespace", &namespace]);
    namespace
}

#[test]
fn the_gate_starts_the_client_and_leaves_the_rest_of_the_workload_as_it_was() {
    let cluster = Cluster::shared();
    for shape in SHAPES {
        let namespace = namespace(cluster);
        let folder = shape.example(&shape.workload(), &namespace, str::to_owned);
        let before = taken(cluster, &namespace, &["-f", &format!("{}/workload.yaml", shape.folder(folder.path()))]);
        let after = taken(cluster, &namespace, &["-k", &shape.folder(folder.path())]);
        let pod = |all: &[Value]| one(all, "StatefulSet", shape.workload)["spec"]["template"]["spec"].clone();
        let (before_pod, pod) = (pod(&before), pod(&after));

        // The command begins with the gate and continues as the chart has it.
        let was = named(&before_pod["containers"], shape.client);
        let client = named(&pod["containers"], shape.client);
        let gate = [json!("/gate/failover-gate"), json!("run"), json!("--")];
        assert_eq!(list(&client["command"]), [&gate[..], list(&was["command"])].concat());
        // Of the client nothing is lost, but for its probes and postStart: they do not answer while the gate waits.
        for (key, value) in was.as_object().unwrap() {
            match key.as_str() {
                "command" | "livenessProbe" | "readinessProbe" | "startupProbe" => {}
                "lifecycle" => assert_eq!(client["lifecycle"], json!({"preStop": value["preStop"]})),
                "env" | "ports" | "volumeMounts" => {
                    let now = list(&client[key]);
                    assert!(list(value).iter().all(|it| now.contains(it)), "{key} of {client:#}");
                }
                _ => assert_eq!(&client[key], value, "{key}"),
            }
        }
        assert!(client["readinessProbe"].is_null() && client["startupProbe"].is_null(), "{client:#}");
        let probe = &client["livenessProbe"];
        assert_eq!(probe["httpGet"], json!({"path": "/livez", "port": 8553, "scheme": "HTTP"}));
        assert!(probe["exec"].is_null() && probe["tcpSocket"].is_null(), "{probe}");

        // The other containers are what they were, where they were.
        let names = |pod: &Value| list(&pod["containers"]).iter().map(|it| it["name"].clone()).collect::<Vec<_>>();
        assert_eq!(names(&pod), names(&before_pod));
        for other in list(&before_pod["containers"]).iter().filter(|it| it["name"] != shape.client) {
            assert_eq!(named(&pod["containers"], other["name"].as_str().unwrap()), other);
        }
        for other in list(&before_pod["initContainers"]) {
            assert_eq!(named(&pod["initContainers"], other["name"].as_str().unwrap()), other);
        }

        // It is process 1 of its container, and has the time to end the client.
        assert!(pod["shareProcessNamespace"].is_null() && pod["hostPID"].is_null(), "{pod:#}");
        assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= 60 + 30);

        // The program comes first, so that what prepares the volume prepares its folder too.
        let program = &list(&pod["initContainers"])[0];
        assert_eq!(
            (&program["image"], &program["args"]),
            (&json!("registry.example.org/failover-gate:0.1.0"), &json!(["install", "/gate"]))
        );
        assert_eq!(program["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
        let mounts = &client["volumeMounts"];
        assert_eq!(named(mounts, "failover-gate")["mountPath"], "/gate");
        let state = json!({"name": shape.volume, "mountPath": "/var/lib/failover-gate", "subPath": "failover-gate"});
        assert!(list(mounts).contains(&state), "{mounts:#}");

        // Nothing else of the release is touched.
        let others = before.iter().filter(|it| it["metadata"]["name"] != shape.workload);
        for other in others {
            let now = one(&after, other["kind"].as_str().unwrap(), other["metadata"]["name"].as_str().unwrap());
            assert_eq!((&now["spec"], &now["metadata"]["labels"]), (&other["spec"], &other["metadata"]["labels"]));
        }

        files(&after, &pod, client, &shape);
        port(&after, &pod, &shape);
    }
}

/// What it reads: a token of twelve hours for Google, whose audience is the credential file's, and its settings.
fn files(all: &[Value], pod: &Value, client: &Value, shape: &Shape) {
    let folder = named(&client["volumeMounts"], "failover-gate-files")["mountPath"].as_str().unwrap();
    let sources = list(&named(&pod["volumes"], "failover-gate-files")["projected"]["sources"]);
    let files = one(all, "ConfigMap", sources[0]["configMap"]["name"].as_str().unwrap());
    let token = &sources[1]["serviceAccountToken"];
    let google: Value = serde_json::from_str(files["data"]["google.json"].as_str().unwrap()).unwrap();
    assert_eq!(token["expirationSeconds"], 12 * 3600);
    assert_eq!(token["audience"], google["audience"]);
    assert_eq!(google["credential_source"]["file"], format!("{folder}/{}", token["path"].as_str().unwrap()));
    assert_eq!(pod["serviceAccountName"], shape.account);
    one(all, "ServiceAccount", shape.account);

    for setting in list(&client["env"]) {
        if let Some(file) = setting["value"].as_str().unwrap().strip_prefix(&format!("{folder}/")) {
            assert!(files["data"][file].is_string(), "{setting}");
        }
    }
    let state = &named(&client["env"], "FAILOVER_GATE_STATE")["value"];
    assert!(list(&client["volumeMounts"]).iter().any(|mount| &mount["mountPath"] == state));
}

/// The watcher finds it, also while it waits, and nothing can reach a validator client that need not.
fn port(all: &[Value], pod: &Value, shape: &Shape) {
    let service = one(all, "Service", "failover-gate-eth-0");
    assert_eq!(
        (&service["spec"]["clusterIP"], &service["spec"]["publishNotReadyAddresses"]),
        (&json!("None"), &json!(true))
    );
    let workload = one(all, "StatefulSet", shape.workload);
    let labels = &workload["spec"]["template"]["metadata"]["labels"];
    let selects = |selector: &Value| selector.as_object().unwrap().iter().all(|(key, value)| &labels[key] == value);
    assert!(selects(&service["spec"]["selector"]), "{labels}");
    assert!(selects(&workload["spec"]["selector"]["matchLabels"]), "{labels}");
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 8553);

    let policies: Vec<_> = all.iter().filter(|it| it["kind"] == "NetworkPolicy").collect();
    // Peers have to reach a beacon node in the same pod.
    assert_eq!(policies.len(), usize::from(list(&pod["containers"]).len() == 1));
    for policy in policies {
        assert!(selects(&policy["spec"]["podSelector"]["matchLabels"]));
        let ports: Vec<_> = list(&policy["spec"]["ingress"][0]["ports"]).iter().map(|it| &it["port"]).collect();
        assert_eq!(ports, [8553, 5064]);
        assert_eq!(list(&policy["spec"]["ingress"]).len(), 1);
    }
}

/// Of a Deployment, Kubernetes starts the next pod before the one before has ended, unless it says otherwise.
#[test]
fn a_deployment_behind_a_gate_never_has_two_pods_of_one_template() {
    let cluster = Cluster::shared();
    let namespace = namespace(cluster);
    let shape = &SHAPES[1];
    let workload: String = shape
        .workload()
        .lines()
        .filter(|line| !line.contains("serviceName:") && !line.contains("podManagementPolicy:"))
        .map(|line| line.replace("StatefulSet", "Deployment") + "\n")
        .collect();
    let rolls = taken(cluster, &namespace, &["-f", scratch(&workload).path().to_str().unwrap()]);
    assert_eq!(one(&rolls, "Deployment", shape.workload)["spec"]["strategy"]["type"], "RollingUpdate");
    let folder = shape.example(&workload, &namespace, |text| text.replace("StatefulSet", "Deployment"));
    let all = taken(cluster, &namespace, &["-k", &shape.folder(folder.path())]);
    let deployment = one(&all, "Deployment", shape.workload);
    assert_eq!(deployment["spec"]["strategy"], json!({"type": "Recreate"}));
    let client = named(&deployment["spec"]["template"]["spec"]["containers"], shape.client);
    assert_eq!(client["command"][0], "/gate/failover-gate");
}

fn scratch(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

/// An upgrade of the chart must not leave the client without its gate: kustomize passes over a patch that meets nothing.
#[test]
fn a_workload_that_the_patches_do_not_fit_gives_nothing_at_all() {
    let kubectl = part("kubernetes").join("kubectl");
    let build = |shape: &Shape, workload: &str| {
        let folder = shape.example(workload, "eth", str::to_owned);
        Command::new(&kubectl).args(["kustomize", &shape.folder(folder.path())]).output().unwrap()
    };
    for shape in SHAPES {
        let workload = shape.workload();
        assert!(build(&shape, &workload).status.success(), "{}", shape.name);
        let client = format!("- name: {}\n", shape.client);
        let (head, tail) = workload.split_once(&client).unwrap();
        let command = tail.find("          command:").unwrap();
        let changed = [
            ("another kind", workload.replace("kind: StatefulSet", "kind: DaemonSet")),
            ("another name", workload.replace(&format!("name: {}, labels", shape.workload), "name: other, labels")),
            ("another container", workload.replace(&client, "- name: other\n")),
            ("another place", format!("{head}- {{name: sidecar, image: x, command: [x]}}\n        {client}{tail}")),
            ("no command", format!("{head}{client}{}", tail[command..].replacen("command:", "args:", 1))),
        ];
        for (what, changed) in changed {
            assert_ne!(changed, workload, "{what}");
            let built = build(&shape, &changed);
            assert!(!built.status.success(), "{} with {what}", shape.name);
            assert!(built.stdout.is_empty(), "{} with {what}", shape.name);
        }
    }
}

/// A patch for a workload of another name meets nothing, and the client would start without its gate.
#[test]
fn a_name_that_is_adapted_everywhere_but_once_gives_nothing_at_all() {
    let kubectl = part("kubernetes").join("kubectl");
    for shape in SHAPES {
        let (workload, client) = (shape.workload, shape.client);
        let names = |name: &str| ["name: NAME}", "name: NAME,", "name: NAME\n"].map(|it| it.replace("NAME", name));
        let containers =
            |name: &str| ["value: NAME}", "[name=NAME]", "- name: NAME\n"].map(|it| it.replace("NAME", name));
        let renamed = |name: &str, with: &str| shape.workload().replace(name, &name.replace(with, "other"));
        let cases = [
            (renamed(&format!("name: {workload}, labels"), workload), names(workload), names("other")),
            (renamed(&format!("- name: {client}\n"), client), containers(client), containers("other")),
        ];
        for (workload, old, new) in cases {
            // The place that is forgotten, and how many there are.
            let build = |forgotten: usize| {
                let seen = Cell::new(0);
                let folder = shape.example(&workload, "eth", |text| {
                    let mut text = text.to_owned();
                    for (old, new) in old.iter().zip(&new) {
                        let mut parts = text.split(old.as_str());
                        let mut changed = parts.next().unwrap_or_default().to_owned();
                        for part in parts {
                            changed += if seen.replace(seen.get() + 1) == forgotten { old } else { new };
                            changed += part;
                        }
                        text = changed;
                    }
                    text
                });
                let folder = shape.folder(folder.path());
                (Command::new(&kubectl).args(["kustomize", &folder]).output().unwrap(), seen.get())
            };
            let (whole, places) = build(usize::MAX);
            assert!(whole.status.success() && places >= 4, "{} of {}: {whole:?}", old[0], shape.name);
            for place in 0..places {
                let (built, _) = build(place);
                assert!(!built.status.success(), "{} of {}, place {place}", old[0], shape.name);
                assert!(built.stdout.is_empty(), "{} of {}, place {place}", old[0], shape.name);
            }
        }
    }
}

#[test]
fn the_gates_init_container_is_admitted_where_only_restricted_pods_are() {
    let cluster = Cluster::shared();
    for shape in SHAPES {
        let namespace = namespace(cluster);
        cluster.kubectl(&["label", "namespace", &namespace, "pod-security.kubernetes.io/enforce=restricted"]);
        cluster.kubectl(&["create", "serviceaccount", "one", "--namespace", &namespace]);
        let folder = shape.example(&shape.workload(), &namespace, str::to_owned);
        let all = taken(cluster, &namespace, &["-k", &shape.folder(folder.path())]);
        let workload = one(&all, "StatefulSet", shape.workload);
        let mut program = named(&workload["spec"]["template"]["spec"]["initContainers"], "failover-gate").clone();
        program["volumeMounts"] = json!([]);
        let security = json!({
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
        });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"},
            "spec": {
                "serviceAccountName": "one", "automountServiceAccountToken": false, "initContainers": [program],
                "containers": [{"name": "client", "image": "client", "securityContext": security}],
            },
        });
        let pod = taken(cluster, &namespace, &["-f", scratch(&pod.to_string()).path().to_str().unwrap()]);
        assert_eq!(pod[0]["kind"], "Pod", "{pod:?}");
    }
}

/// Or the next `helm upgrade` would take the gate away.
#[test]
fn helm_installs_a_chart_with_its_gate() {
    let shape = &SHAPES[1];
    let folder = shape.example("", "eth", str::to_owned);
    let own = shape.folder(folder.path());
    let chart = folder.path().join("chart");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: client\nversion: 0.1.0\n").unwrap();
    fs::write(chart.join("templates/workload.yaml"), shape.workload()).unwrap();
    let path = format!("{}:{}", part("kubernetes").display(), std::env::var("PATH").unwrap());
    let helm = |arguments: &[&str]| {
        let mut helm = Command::new(part("helm").join("helm"));
        helm.args(arguments).env("PATH", &path).env("KUBECONFIG", "/dev/null");
        for kind in ["CACHE", "CONFIG", "DATA"] {
            helm.env(format!("HELM_{kind}_HOME"), folder.path().join("helm"));
        }
        run(&mut helm)
    };
    let plugin = folder.path().join("charts/gate/post-renderer");
    helm(&["plugin", "install", plugin.to_str().unwrap()]);
    let how = ["--post-renderer", "failover-gate", "--post-renderer-args", &own];
    let rendered = helm(&[&["template", "vc", chart.to_str().unwrap()], &how[..]].concat());
    let plain = shape.example(&shape.workload(), "eth", str::to_owned);
    let built = run(Command::new(part("kubernetes").join("kubectl")).args(["kustomize", &shape.folder(plain.path())]));
    // Helm has an order of its own.
    let objects = |text: &str| {
        let all = text.split("---\n").map(|it| it.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>());
        let mut all: Vec<_> =
            all.filter(|it| it.iter().any(|line| !line.trim().is_empty())).map(|it| it.join("\n")).collect();
        all.iter_mut().for_each(|it| *it = it.trim().to_owned());
        all.sort();
        all
    };
    assert_eq!(objects(&rendered), objects(&built));
    assert!(rendered.contains("- /gate/failover-gate\n"), "{rendered}");
}
