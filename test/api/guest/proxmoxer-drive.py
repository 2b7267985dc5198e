# Drives the guest dialect with proxmoxer as its users do, at the PORT and with the PASSWORD of its environment. Prints one JSON object with what it saw.
import json
import os
import time

import urllib3
from proxmoxer import ProxmoxAPI, ResourceException
from proxmoxer.backends.https import AuthenticationError

urllib3.disable_warnings()
port, password = os.environ["PORT"], os.environ["PASSWORD"]
host = f"127.0.0.1:{port}"
seen = {}


def connect(**credentials):
    return ProxmoxAPI(host, verify_ssl=False, **credentials)


def wait(api, upid):
    for _ in range(200):
        status = api.nodes("pve1").tasks(upid).status.get()
        if status["status"] == "stopped":
            return status["exitstatus"]
        time.sleep(0.02)
    raise RuntimeError("the task did not end")


def refusal(call):
    try:
        call()
    except ResourceException as error:
        return str(error)
    return "no refusal"


try:
    connect(user="root@pam", password="wrong")
except AuthenticationError:
    seen["wrong password"] = "refused"

api = connect(user="root@pam", password=password)
node = api.nodes("pve1")
seen["version"] = api.version.get()["release"]
seen["nodes"] = [each["node"] for each in api.nodes.get()]
vmid = api.cluster.nextid.get()
seen["nextid"] = vmid
upid = node.qemu.post(vmid=vmid, name="web", memory=64, scsi0="disks:1", net0="virtio,bridge=vmbr0", onboot=True)
seen["fields of a upid"] = len(upid.split(":"))
seen["create"] = wait(api, upid)
vm = node.qemu(vmid)
seen["config"] = vm.config.get()["net0"]
seen["put"] = vm.config.put(description="first line\nsecond line", tags="a,b")
seen["description"] = vm.config.get()["description"]
seen["start"] = wait(api, vm.status.start.post())
seen["status"] = vm.status.current.get()["status"]
seen["log"] = [line["t"] for line in node.tasks(upid).log.get()]
seen["snapshot"] = wait(api, vm.snapshot.post(snapname="before"))
seen["snapshots"] = [row["name"] for row in vm.snapshot.get()]
seen["exec"] = vm.agent("exec").post(command=["echo", "hello"])["pid"]
seen["unknown parameter"] = refusal(lambda: vm.config.put(nonsense=1))
seen["unknown path"] = refusal(lambda: api.nonsense.get())
seen["unknown guest"] = refusal(lambda: node.qemu(999).config.get())
seen["volume"] = node.storage("local").content("local:iso/tiny.iso").get()["volid"]
api.cluster.backup.post(id="nightly", storage="tank", schedule="21:00", vmid=vmid, **{"prune-backups": "keep-last=3"})
api.cluster.backup("nightly").put(enabled=0, comment="off")
seen["jobs"] = [[row[key] for key in ("id", "vmid", "enabled", "prune-backups")] for row in api.cluster.backup.get()]
seen["wrong job"] = refusal(lambda: api.cluster.backup.post(storage="tank", schedule="21:00"))
api.cluster.backup("nightly").delete()
token = api.access.users("root@pam").token("ci").post(privsep=0)
by_token = connect(user="root@pam", token_name="ci", token_value=token["value"])
seen["by token"] = [each["vmid"] for each in by_token.nodes("pve1").qemu.get()]
seen["stop"] = wait(by_token, by_token.nodes("pve1").qemu(vmid).status.stop.post())
seen["delete"] = wait(api, vm.delete(purge=1))
print(json.dumps(seen))
