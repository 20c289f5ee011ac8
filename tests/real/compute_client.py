"""Google's own Python client against the fake Compute Engine: argument 1 is its address.

What the machine itself does is told to the other side in lines ("write"), which are answered with one word each.
"""

import sys

from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1

PROJECT, ZONE = "home-failover", "us-central1-a"


def made(client):
    host = sys.argv[1].removeprefix("http://")
    kind = client.get_transport_class("rest")
    return client(transport=kind(host=host, credentials=AnonymousCredentials(), url_scheme="http"))


instances, operations = made(compute_v1.InstancesClient), made(compute_v1.ZoneOperationsClient)


def wait(operation):
    while operation.status != compute_v1.Operation.Status.DONE:
        operation = operations.get(project=PROJECT, zone=ZONE, operation=operation.name)
    return operation


def insert(name):
    body = compute_v1.Instance(
        name=name,
        machine_type=f"zones/{ZONE}/machineTypes/n2-standard-8",
        labels={"app": "failover", "incident": "7f3a"},
        disks=[compute_v1.AttachedDisk(boot=True, auto_delete=True)],
        metadata=compute_v1.Metadata(items=[compute_v1.Items(key="enable-guest-attributes", value="TRUE")]),
        network_interfaces=[compute_v1.NetworkInterface(network="global/networks/default")],
    )
    return wait(instances.insert_unary(project=PROJECT, zone=ZONE, instance_resource=body))


# The script on the other side: the first creation meets want of capacity.
failed = insert("fo-first")
assert failed.error.errors[0].code == "ZONE_RESOURCE_POOL_EXHAUSTED", failed
assert not insert("fo-second").error.errors
machine = instances.get(project=PROJECT, zone=ZONE, instance="fo-second")
assert machine.status == "RUNNING" and machine.id > 0, machine
try:
    insert("fo-second")
    raise AssertionError("a second machine of the same name")
except exceptions.Conflict:
    pass
found = [
    instance.name
    for _, scoped in instances.aggregated_list(
        request={"project": PROJECT, "filter": '(labels.app="failover") (labels.incident="7f3a")'}
    )
    for instance in scoped.instances
]
assert found == ["fo-second"], found
assert [instance.name for instance in instances.list(project=PROJECT, zone=ZONE)] == ["fo-second"]
try:
    where = {"project": PROJECT, "zone": ZONE, "instance": "fo-second", "query_path": "failover/"}
    instances.get_guest_attributes(request=where)
    raise AssertionError("there are no guest attributes yet")
except exceptions.NotFound:
    pass
assert instances.get_serial_port_output(project=PROJECT, zone=ZONE, instance="fo-second").contents == ""

print("write", flush=True)
assert sys.stdin.readline().strip() == "written"
console = instances.get_serial_port_output(project=PROJECT, zone=ZONE, instance="fo-second")
assert (console.contents, console.start, console.next_) == ("failover: done\n", 0, 15), console
request = {"project": PROJECT, "zone": ZONE, "instance": "fo-second", "start": console.next_}
assert instances.get_serial_port_output(request=request).contents == ""
items = instances.get_guest_attributes(request=where).query_value.items
assert [(item.namespace, item.key, item.value) for item in items] == [("failover", "report", "{}")], items
where["query_path"] = "nobody/"
try:
    instances.get_guest_attributes(request=where)
    raise AssertionError("another namespace")
except exceptions.NotFound:
    pass
wait(instances.delete_unary(project=PROJECT, zone=ZONE, instance="fo-second"))
try:
    instances.get(project=PROJECT, zone=ZONE, instance="fo-second")
    raise AssertionError("it is still there")
except exceptions.NotFound:
    print("done")
