#!/usr/bin/env python3
"""Writes what is derived in the chart: values.schema.json and README.md. It reads nothing from a cluster.

    failover config schema | charts/generate.py [--check]

The schema's part under `config` is the program's own, made narrower where a value cannot work in a pod or where the
program would refuse it for more than its form. The README's table is the comments of values.yaml.
With --check nothing is written; exit code 1 says that something is not current.
"""

import json
import pathlib
import re
import sys

CHART = pathlib.Path(__file__).resolve().parent / "failover"

# --- Small schemas of the chart's own values.

TEXT, FLAG = {"type": "string"}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
ANYTHING, LIST = {"type": "object"}, {"type": "array", "items": {"type": "object"}}
COUNT = {"type": "integer", "minimum": 0}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253}
PROVIDER = "^//iam\\.googleapis\\.com/projects/[0-9]+/locations/global/workloadIdentityPools/[^/]+/providers/[^/]+$"
OBJECT = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
# Prometheus' label matchers without the braces, as they stand between them.
MATCHER = '[a-zA-Z_][a-zA-Z0-9_]*(=|!=|=~|!~)"([^"\\\\]|\\\\.)*"'
MATCHERS = {"type": "string", "pattern": f"^{MATCHER}(, *{MATCHER})*$"}
# What shows a validator to Prometheus; each has alerts of its own.
SHOWN_BY = ("client", "beaconNode", "host", "pod", "chain")
FOLDER = {"type": "string", "pattern": "^/[^ ]+$"}
QUANTITY = {"type": ["string", "integer"], "pattern": "^[0-9.]+([KMGTPE]i?|k|m)?$"}


def pattern(text):
    return {"type": "string", "pattern": text}


def record(required=(), **keys):
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": keys}


def optional(schema):
    return {"anyOf": [{"const": ""}, schema]}


def empty_or(schema):
    return {"anyOf": [{"const": {}}, schema]}


def values():
    """The keys of values.yaml, without what is under `config`."""
    resource = {"type": "object", "additionalProperties": QUANTITY}
    return record(
        required=["config"],
        # Helm adds it when the chart is a part of another.
        **{"global": ANYTHING},
        secrets={
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z0-9][-._A-Za-z0-9]*$"},
            "additionalProperties": record(["name", "key"], name=NAME, key=pattern("^[-._a-zA-Z0-9]+$")),
        },
        workloadIdentity=record(
            audience=optional(pattern(PROVIDER)),
            impersonate=optional(pattern("^[^@ ]+@[^@ ]+$")),
        ),
        image=record(
            repository=pattern("^[^ @]+$"),
            tag=pattern("^[-._A-Za-z0-9]*$"),
            digest=optional(pattern("^sha256:[0-9a-f]{64}$")),
            pullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
            pullSecrets={"type": "array", "items": NAME},
        ),
        replicas={"type": "integer", "minimum": 1, "maximum": 3},
        persistence=record(
            size=QUANTITY,
            storageClass=optional(NAME),
            existingClaim=optional(NAME),
            local=empty_or(record(["node", "path"], node=NAME, path=FOLDER)),
            hostPath=empty_or(record(["path"], node=NAME, path=FOLDER)),
            keep=FLAG,
        ),
        serviceAccount=record(name=optional(NAME), annotations=TEXTS),
        rbac=record(create=FLAG),
        service=record(type={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]}, port=PORT, annotations=TEXTS),
        networkPolicy=record(
            enabled=FLAG, **{"from": LIST}, egressPorts={"type": "array", "items": PORT}, egress=LIST
        ),
        podDisruptionBudget=record(enabled=FLAG, maxUnavailable=optional(COUNT)),
        serviceMonitor=record(enabled=FLAG, interval=pattern("^[0-9]+(ms|s|m)$"), endpoint=ANYTHING, labels=TEXTS),
        prometheusRule=record(
            enabled=FLAG,
            labels=TEXTS,
            watcher=optional(MATCHERS),
            watchdog=FLAG,
            validators={
                "type": "array",
                "items": record(
                    ["name"],
                    name=OBJECT,
                    signed=pattern("^[a-zA-Z_:][a-zA-Z0-9_:]*$"),
                    **{key: MATCHERS for key in SHOWN_BY},
                )
                | {"anyOf": [{"required": [key]} for key in SHOWN_BY]},
            },
            chain=optional(MATCHERS),
            **{"for": pattern("^[0-9]+(s|m|h)$")},
        ),
        awayFrom={
            "type": "array",
            "items": record(["namespace", "matchLabels"], namespace=NAME, matchLabels=TEXTS | {"minProperties": 1}),
        },
        awayFromRequired=FLAG,
        affinity=ANYTHING,
        nodeSelector=TEXTS,
        tolerations=LIST,
        topologySpreadConstraints=LIST,
        priorityClassName=optional(NAME),
        resources=record(requests=resource, limits=resource),
        runAsUser={"type": "integer", "minimum": 1},
        terminationGracePeriodSeconds=COUNT,
        env={"type": "array", "items": record(["name"], name=TEXT, value=TEXT, valueFrom=ANYTHING)},
        podAnnotations=TEXTS,
        podLabels=TEXTS,
        fullnameOverride=optional(NAME | {"maxLength": 63}),
        tests=record(enabled=FLAG),
    )


# --- What the program refuses although its form is right. Each line names a definition of its schema and a key.

LABEL = pattern("^[-_a-z0-9]{1,63}$")
URL = pattern("^https?://[^/@?# ]+([/?#][^ ]*)?$")
LOOPBACK = "^https?://(127\\.|localhost|\\[::1\\])"
# A standby is asked about itself, where there is no certificate.
ON_ITSELF = pattern("^http://(127\\.[0-9.]+|localhost|\\[::1\\])(:[0-9]+)?(/[^ ]*)?$")
GB = {"minimum": 10, "maximum": 65536}

NARROWER = {
    "Alertmanager.url": URL,
    "AlertMapping.matchers": {"minLength": 1},
    "Basic.username": pattern("^[^:]+$"),
    "BeaconNode.name": LABEL,
    "BeaconNode.url": URL,
    "Budget.per_incident_usd": {"exclusiveMinimum": 0},
    "Budget.per_month_usd": {"exclusiveMinimum": 0},
    "Cardano.metrics": ON_ITSELF,
    "Cardano.network": {"enum": ["mainnet", "preprod", "preview"]},
    "Cometbft.network": pattern("^[!-~]{1,50}$"),
    "Cometbft.rpc": ON_ITSELF,
    "Compute.boot_disk_gb": GB,
    "Compute.endpoint": URL,
    "Compute.ladder": {"minItems": 1, "uniqueItems": True},
    "Compute.project": pattern("^[-.:a-z0-9]+$"),
    "Compute.tags": {"items": LABEL},
    "Disk.size_gb": GB,
    "Ethereum.beacon_nodes": {"minItems": 1},
    "Ethereum.genesis_root": pattern("^0x[0-9a-fA-F]{64}$"),
    "Gcs.bucket": pattern("^[-._a-z0-9]{3,222}$"),
    "Gcs.endpoint": URL,
    "Http.address": URL,
    "Mail.host": pattern("^[^/:@ ]+$"),
    "Mail.port": {"minimum": 1},
    "Mail.to": {"minItems": 1, "uniqueItems": True},
    "Process.url": URL,
    "Rung.machine_type": pattern("^[-a-z0-9]+$"),
    "Rung.zone": pattern("^[a-z0-9]+-[a-z0-9]+-[a-z0-9]+$"),
    "ValidatorSection.name": pattern("^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$"),
    "ValidatorSection.public_keys": {"minItems": 1, "uniqueItems": True, "items": pattern("^0x[0-9a-fA-F]{96}$")},
    "Watchdog.matchers": {"minLength": 1},
    "WorkloadSection.container": OBJECT | {"maxLength": 63},
    "WorkloadSection.deployment": NAME,
    "WorkloadSection.namespace": OBJECT | {"maxLength": 63},
    "WorkloadSection.selector": {"minLength": 1},
    "WorkloadSection.statefulset": NAME,
}

ONLY_ON_LOOPBACK = (
    ("credentials", {"const": "anonymous"}),
    {"required": ["endpoint"], "properties": {"endpoint": pattern(LOOPBACK)}},
)


def one_of(*keys):
    return {"oneOf": [{"required": [key]} for key in keys]}


# (key and what it is like), (what follows from that) in a definition; "" is the configuration itself.
CONDITIONS = {
    "Compute": [ONLY_ON_LOOPBACK],
    "Gcs": [ONLY_ON_LOOPBACK],
    "GenericStandby": [
        (("url", TEXT), one_of("probes", "node")),
        (("node", ANYTHING), {"properties": {"node": one_of("cometbft", "cardano")}}),
    ],
    "Mail": [
        (("tls", {"const": "none"}), {"properties": {"host": pattern("^(127\\.|localhost$|::1$)")}}),
        (("username", TEXT), {"required": ["password_file"]}),
        (("password_file", TEXT), {"required": ["username"]}),
    ],
    "ValidatorSection": [(("kind", {"const": "ethereum"}), one_of("public_keys", "public_keys_file"))],
    "WorkloadSection": [(("namespace", TEXT), one_of("statefulset", "deployment", "selector"))],
    "": [
        (("mode", {"const": "armed"}), {"required": ["compute"]}),
        (
            ("validators", {"contains": {"required": ["alerts"], "properties": {"alerts": {"minItems": 1}}}}),
            {"required": ["alertmanager"]},
        ),
    ],
}


def without_null(schema):
    """The program takes `null` for a key that is not there. Here it would hide that one is missing, and every complaint
    about something in a section would be followed by "got object, want null"."""
    if isinstance(schema, list):
        return [without_null(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: without_null(value) for key, value in schema.items() if key != "default" or value is not None}
    if isinstance(schema.get("type"), list) and "null" in schema["type"]:
        [schema["type"]] = [one for one in schema["type"] if one != "null"]
    if {"type": "null"} in schema.get("anyOf", []):
        [only] = [one for one in schema.pop("anyOf") if one != {"type": "null"}]
        schema = only | schema
    return schema


def configuration(program):
    """The program's schema, narrowed; its definitions apart, because they are found from the root."""
    program = without_null(program)
    definitions = program.pop("$defs")
    program.pop("$schema"), program.pop("title")
    # What the chart adds and nobody else may.
    program["required"].remove("ledger")
    del definitions["Http"]["properties"]["listen"]
    # Only for a port on loopback, which in a pod nobody reaches.
    auth = definitions["Auth"]
    auth["oneOf"] = [one for one in auth["oneOf"] if one.get("const") != "none"]
    program["properties"]["site"] |= LABEL
    program["properties"]["validators"]["minItems"] = 1
    for path, narrower in NARROWER.items():
        definition, key = path.split(".")
        definitions[definition]["properties"][key] |= narrower
    for definition, conditions in CONDITIONS.items():
        (definitions[definition] if definition else program)["allOf"] = [
            {"if": {"required": [key], "properties": {key: when}}, "then": then} for (key, when), then in conditions
        ]
    for definition in definitions.values():
        for schema in definition.get("properties", {}).values():
            if schema.get("examples") == ["30s", "5m", "4h10m"]:  # the program's mark of a duration
                schema |= {"pattern": "^([0-9]+ ?(ms|s|m|h) ?)+$", "not": {"pattern": "^[^1-9]*$"}}
    return program, definitions


def render_schema(program):
    config, definitions = configuration(program)
    schema = values()
    schema["properties"]["config"] = config
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Values of the chart failover"} | schema
    return json.dumps(schema | {"$defs": definitions}, indent=1, ensure_ascii=False) + "\n"


# --- The README.

HEAD = """# failover's chart

`failover` notices that a home validator is down, is sure, and starts a keyless standby in the cloud. This chart runs it in
the cluster whose validators it watches: one pod, read-only rights, no access to any secret but its own.

```sh
helm install failover charts/failover --namespace failover --create-namespace --values my-values.yaml
helm test failover --namespace failover --logs     # would anything fail on the day?
kubectl exec --namespace failover deploy/failover -- failover status
```

[docs/kubernetes.md](../../docs/kubernetes.md) walks through it: the image, the secrets, what the rights are and why, and how
a validator should look to be watched well. `ci/` has values to start from: minimal, off-site, several, full.

The gate before the keys is not in it: [docs/gate.md](../../docs/gate.md) puts that over the validator's own chart.

Values are checked before anything reaches the cluster: an unknown key, a wrong type or what the program itself would refuse.

## Values

"""

COLUMNS = "| key | default | meaning, and why |\n|---|---|---|\n"
KEY = re.compile(r"^( *)([A-Za-z]+):(?: +(.*))?$")


def documented(lines):
    """(key, default, comment) for every key of values.yaml that has a comment; every value has one, or what it is in."""
    path, comment, explained = [], [], set()
    for line in lines:
        if line.strip().startswith("#"):
            comment.append(line.strip()[1:].strip())
            continue
        if found := KEY.match(line):
            indent, key, value = found.groups()
            path = path[: len(indent) // 2] + [key]
            if comment:
                explained.add(tuple(path))
                yield ".".join(path), value or "see values.yaml", " ".join(comment)
            elif value is not None and not any(tuple(path[:n]) in explained for n in range(1, len(path))):
                sys.exit(f"values.yaml: {'.'.join(path)} has no comment")
        comment = []


def render_readme():
    lines = (CHART / "values.yaml").read_text().splitlines()
    rows = (f"| `{key}` | `{default}` | {comment} |\n" for key, default, comment in documented(lines))
    return HEAD + COLUMNS + "".join(rows)


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    stale = False
    for name, text in {"values.schema.json": render_schema(json.load(sys.stdin)), "README.md": render_readme()}.items():
        file = CHART / name
        if check and (not file.exists() or file.read_text() != text):
            print(f"{file.relative_to(CHART.parents[1])} is not current: failover config schema | charts/generate.py")
            stale = True
        elif not check:
            file.write_text(text)
    sys.exit(stale)


main()
