#!/usr/bin/env python3
"""synth.py ROOT RUNROOT N: a daemon's state of N stopped pods with an exited container each, made from the one that is there.

The daemon (crio, or CRI-O: both read the same form) is down, and ROOT has the records of exactly one pod and one container, both
stopped. Their ids, names and uids are replaced in every file; layers are shared, since nothing mounts those of what has ended."""
import json
import os
import re
import shutil
import sys

root, runroot, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
base = os.path.join(root, "overlay-containers")
files = [f for f in ("containers.json", "volatile-containers.json") if os.path.exists(os.path.join(base, f))]
records = {f: json.load(open(os.path.join(base, f))) for f in files}
have = [r for f in files for r in records[f]]
kind = lambda r: json.load(open(os.path.join(base, r["id"], "userdata", "config.json")))["annotations"]["io.kubernetes.cri-o.ContainerType"]
pods = [r for r in have if kind(r) == "sandbox"]
containers = [r for r in have if kind(r) == "container"]
assert len(pods) == 1 and len(containers) == 1, "one stopped pod with one container is needed"
uid = json.load(open(os.path.join(base, pods[0]["id"], "userdata", "config.json")))["annotations"]
uid = json.loads(uid["io.kubernetes.cri-o.Metadata"])["uid"]


def replaced(text, i):
    for r in pods + containers:
        text = text.replace(r["id"], "%08x" % i + r["id"][8:])
    # The pod's name is its uid too (tests/bench/side.c), which no other word in these files contains.
    return re.sub(re.escape(uid) + r"(?![0-9a-z-])", "%s-%d" % (uid, i), text)


def copy_tree(src, i):
    dst = replaced(src, i)
    for d, _, names in os.walk(src):
        os.makedirs(replaced(d, i), exist_ok=True)
        for name in names:
            p = os.path.join(d, name)
            if os.path.isfile(p) and not os.path.islink(p):
                with open(p, errors="surrogateescape") as a, open(replaced(p, i), "w", errors="surrogateescape") as b:
                    b.write(replaced(a.read(), i))
    shutil.copystat(src, dst)


for i in range(1, n):
    for r in have:
        for top in (base, os.path.join(runroot, "overlay-containers")):
            d = os.path.join(top, r["id"])
            if os.path.isdir(d):
                copy_tree(d, i)
for f in files:
    more = [json.loads(replaced(json.dumps(r), i)) for i in range(1, n) for r in records[f]]
    tmp = os.path.join(base, f + ".tmp")
    with open(tmp, "w") as o:
        json.dump(records[f] + more, o)
    os.rename(tmp, os.path.join(base, f))
