"""What a Patroni node does with its store over etcd3, against the gateway whose port is the first argument.

With a second argument, discover, it looks for the members as it does by default, and must find the gateway alone.
"""

import logging
import sys
import time

from patroni.dcs import get_dcs

logging.basicConfig(level=logging.WARNING)


def check(what, got, want):
    if (bool(got) if isinstance(want, bool) else got) != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")


def comes(what, dcs, read, want):
    """The cache follows the store by a watch: wait for it."""
    end = time.time() + 20
    while read(dcs.get_cluster()) != want:
        if time.time() > end:
            sys.exit(f"{what}: got {read(dcs.get_cluster())!r}, want {want!r}")
        dcs.watch(None, 0.1)


discover = sys.argv[2:] == ["discover"]


def node(name):
    return get_dcs({
        "scope": "demo", "namespace": "/service", "name": name, "ttl": 30, "loop_wait": 5, "retry_timeout": 10,
        "etcd3": {"host": "127.0.0.1:" + sys.argv[1], "use_proxies": not discover},  # else it goes to the members' client URLs
    })


a, b = node("a"), node("b")  # each has a watch of its own and a lease
if discover:
    for n in (a, b):
        check("what it takes for etcd's members", list(n._client.machines_cache), ["http://127.0.0.1:" + sys.argv[1]])
check("initialize", a.initialize(create_new=True, sysid="7"), True)
check("initialize again", b.initialize(create_new=True, sysid="8"), False)
check("a member", a.touch_member({"state": "running", "role": "replica"}), True)
check("another", b.touch_member({"state": "running", "role": "replica"}), True)
check("the leader", a.attempt_to_acquire_leader(), True)
check("a second leader", b.attempt_to_acquire_leader(), False)
check("the configuration", a.set_config_value('{"ttl":30}'), True)

comes("the leader as b sees it", b, lambda c: c.leader and c.leader.name, "a")
comes("the members", b, lambda c: sorted(m.name for m in c.members), ["a", "b"])
comes("the configuration as b sees it", b, lambda c: c.config and c.config.data, {"ttl": 30})
check("the lock is kept", a.update_leader(a.get_cluster(), 42), True)

check("the lock is given up", a.delete_leader(a.get_cluster().leader), True)
comes("b sees it", b, lambda c: c.leader, None)
check("b is next", b.attempt_to_acquire_leader(), True)
comes("as a sees it", a, lambda c: c.leader and c.leader.name, "b")
check("the end", b.delete_cluster() is not False, True)
print("done", flush=True)
