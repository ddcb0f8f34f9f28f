"""Prints the log of a function by invocation, from a topic that ingest wrote with --headers=standard:

    python3 reader.py BROKER TOPIC FUNCTION

It needs kcat and no library. It does what main.go in this folder does.
"""

import json
import subprocess
import sys

broker, topic, function = sys.argv[1:]

events = []
out = subprocess.run(["kcat", "-C", "-e", "-q", "-J", "-b", broker, "-t", topic, "-o", "beginning"], stdout=subprocess.PIPE, check=True).stdout
for row in out.decode().splitlines():
    record = json.loads(row)
    names = record.get("headers", [])
    headers = dict(zip(names[0::2], names[1::2]))
    if "ingest-mark" in headers or headers.get("ingest-function") != function:
        continue
    value = json.loads(record["payload"])
    e = {k: str(value.get(k, "")).strip() for k in ("name", "traceId", "startTime", "endTime", "logs")}
    e["name"] = e["name"].lower()
    e["instance"] = headers.get("ingest-instance", "")
    start, _, number = headers["ingest-seq"].partition("-")
    e["order"] = (start, int(number))
    events.append(e)
events.sort(key=lambda e: e["order"])

invocations = {}


def invocation(e):
    key = (e["instance"], e["traceId"])
    return invocations.setdefault(key, {"instance": key[0], "trace": key[1], "begin": "", "end": "", "done": False, "lines": []})


for e in events:
    if not e["traceId"]:
        continue
    if e["name"] == "platform.start":
        invocation(e)["begin"] = e["startTime"]
    elif e["name"] == "platform.runtimedone" and not invocation(e)["done"]:
        invocation(e)["end"] = e["startTime"]
    elif e["name"] == "platform.report":
        invocation(e).update(end=e["endTime"], done=True)

not_certain = []
for e in events:
    if e["name"] != "function":
        continue
    line, at = e["startTime"] + " " + e["logs"], e["startTime"]
    if e["traceId"]:
        invocation(e)["lines"].append(line)
        continue
    # It belongs to an invocation for certain if it was written in the time of exactly one.
    inside = [v for v in invocations.values() if v["instance"] == e["instance"] and v["begin"] and v["begin"] <= at and (not v["end"] or at <= v["end"])]
    if len(inside) == 1:
        inside[0]["lines"].append(line)
    else:
        not_certain.append(f"{e['instance']} ? of {len(inside)}\n  {line}")

for v in sorted(invocations.values(), key=lambda v: v["begin"] + " " + v["trace"]):
    if v["lines"]:
        print(v["instance"], v["trace"] + "\n  " + "\n  ".join(v["lines"]))
for text in not_certain:
    print(text)
