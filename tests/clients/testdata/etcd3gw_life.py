"""What OpenStack's services do with etcd3gw, against the gateway whose port is the first argument."""

import queue
import sys
import threading

import etcd3gw


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")


client = etcd3gw.client(host="127.0.0.1", port=int(sys.argv[1]))  # finds the prefix by /version

check("put", client.put("app/a", "1"), True)
check("get", client.get("app/a"), [b"1"])
check("get of nothing", client.get("none"), [])
check("create", client.create("app/b", "2"), True)
check("create again", client.create("app/b", "3"), False)
check("replace", client.replace("app/b", "2", "4"), True)
check("replace of another", client.replace("app/b", "2", "5"), False)
check("get_prefix", [v for v, _ in client.get_prefix("app/")], [b"1", b"4"])
check("metadata", client.get("app/b", metadata=True)[0][1]["version"], "2")
check("get_all", len(client.get_all()) >= 2, True)
check("bytes", client.put(b"bin/\xff\x00", b"\x00\xfe"), True)
check("bytes again", client.get(b"bin/\xff\x00"), [b"\x00\xfe"])
check("delete", client.delete("app/a"), True)
check("delete again", client.delete("app/a"), False)
check("delete_prefix", client.delete_prefix("app/"), True)
check("status", client.status()["version"].count("."), 2)
check("members", len(client.members()), 1)

lease = client.lease(ttl=60)
check("put with a lease", client.put("leased", "1", lease), True)
check("ttl", 0 < lease.ttl() <= 60, True)
check("refresh", lease.refresh(), 60)
check("keys", lease.keys(), [b"leased"])
check("revoke", lease.revoke(), True)
check("after revoke", client.get("leased"), [])

with client.lock("job", ttl=60) as lock:
    check("acquired", lock.is_acquired(), True)
    check("refresh of a lock", lock.refresh(), 60)
    check("another's try", client.lock("job", ttl=60).acquire(), False)
check("released", lock.is_acquired(), False)

found = client.transaction({
    "compare": [{"key": "YQ==", "result": "EQUAL", "target": "CREATE", "create_revision": 0}],
    "success": [{"request_put": {"key": "YQ==", "value": "MQ=="}}], "failure": [],
})
check("transaction", found["succeeded"], True)

events, cancel = client.watch_prefix("w/")
seen = queue.Queue()
reader = threading.Thread(target=lambda: [seen.put((e["kv"]["key"], e.get("type"), e["kv"].get("value"))) for e in events], daemon=True)
reader.start()
client.put("w/1", "x" * 5000)
client.put("w/2", "y")
client.delete("w/1")
check("first event", seen.get(timeout=20), (b"w/1", None, b"x" * 5000))
check("second event", seen.get(timeout=20), (b"w/2", None, b"y"))
check("third event", seen.get(timeout=20), (b"w/1", "DELETE", None))
cancel()
print("done")
