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

# What a promotion does to a machine.
second = {"project": PROJECT, "zone": ZONE, "instance": "fo-second"}
rename = {"instances_set_name_request_resource": {"name": "kept-second", "current_name": "fo-second"}}


def refused(kind, call, **request):
    try:
        wait(call(request={**second, **request}))
    except kind:
        return
    raise AssertionError(f"{call} was taken")


def done(call, **request):
    operation = wait(call(request={**second, **request}))
    assert not operation.error.errors, operation


refused(exceptions.BadRequest, instances.set_name_unary, **rename)
wait(instances.set_deletion_protection_unary(project=PROJECT, zone=ZONE, resource="fo-second"))
refused(exceptions.BadRequest, instances.delete_unary)
done(instances.stop_unary)
machine = instances.get(request=second)
assert machine.status == "TERMINATED" and machine.deletion_protection, machine
done(instances.set_scheduling_unary, scheduling_resource=compute_v1.Scheduling(automatic_restart=True))
done(instances.set_disk_auto_delete_unary, device_name=machine.disks[0].device_name, auto_delete=False)
metadata = machine.metadata
metadata.items.append(compute_v1.Items(key="failover-promoted", value="1"))
done(instances.set_metadata_unary, metadata_resource=metadata)
refused(exceptions.PreconditionFailed, instances.set_metadata_unary, metadata_resource=metadata)
tags = compute_v1.Tags(items=["failover-ssh"], fingerprint=machine.tags.fingerprint)
done(instances.set_tags_unary, tags_resource=tags)
refused(exceptions.PreconditionFailed, instances.set_tags_unary, tags_resource=tags)
done(instances.set_name_unary, **rename)
second["instance"] = "kept-second"
done(instances.start_unary)
kept = instances.get(request=second)
assert (kept.id, kept.status, list(kept.tags.items)) == (machine.id, "RUNNING", ["failover-ssh"]), kept
assert [item.key for item in kept.metadata.items] == ["enable-guest-attributes", "failover-promoted"], kept
assert not kept.disks[0].auto_delete, kept
asked = {"project": PROJECT, "zone": ZONE, "resource": "kept-second"}
asked["test_permissions_request_resource"] = {"permissions": ["compute.instances.get"]}
assert list(instances.test_iam_permissions(request=asked).permissions) == ["compute.instances.get"]
off = {"project": PROJECT, "zone": ZONE, "resource": "kept-second", "deletion_protection": False}
wait(instances.set_deletion_protection_unary(request=off))
done(instances.delete_unary)
try:
    instances.get(request=second)
    raise AssertionError("it is still there")
except exceptions.NotFound:
    print("done")
