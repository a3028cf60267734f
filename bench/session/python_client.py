"""The Python side: does the operations that it reads from standard input with Ray Client, one line each."""

import json
import os
import sys
import threading
import time

import ray

# Ray prints warnings to standard output, which is for answers.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

ray.init("ray://" + sys.argv[1], namespace="bench-python", log_to_driver=False)


def rss():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024


connected = {"rss": rss(), "version": ray.__version__}


@ray.remote(num_cpus=0)
class Echo:
    def echo(self, value):
        return value


callers = int(sys.argv[2])
actors = []
payload = b"x" * 64
small = [ray.put(b"y" * 100) for _ in range(callers)]
big = bytes(100 << 20)
big_ref = None


def once(op, i, kept):
    """One operation of caller number i; returns how many calls that were."""
    global big_ref
    if op == "call":
        ref = actors[i].echo.remote(payload)
        ray.get(ref)
        if kept is not None:
            kept.append(ref)
    elif op == "get":
        ray.get(small[i])
    elif op == "put":
        ref = ray.put(payload)
        if kept is not None:
            kept.append(ref)
    elif op == "pipelined":
        refs = [actors[0].echo.remote(payload) for _ in range(200)]
        ray.get(refs)
        if kept is not None:
            kept.extend(refs)
        return len(refs)
    elif op == "put100":
        big_ref = ray.put(big)
    elif op == "get100":
        assert len(ray.get(big_ref)) == len(big)
    return 1


def repeat(op, i, kept, end, out):
    n, latencies, last = 0, [], time.perf_counter()
    while n == 0 or last < end:
        n += once(op, i, kept)
        now = time.perf_counter()
        latencies.append(now - last)
        last = now
    out[i] = n, latencies


def create_actors():
    begin = time.perf_counter()
    actors.extend(Echo.remote() for _ in range(callers))
    ray.get([a.echo.remote(b"x") for a in actors])
    return {"n": callers, "seconds": time.perf_counter() - begin}


def work(c):
    if c["op"] == "start":
        return create_actors()
    kept = [] if c["keep"] else None
    start, cpu, out = time.perf_counter(), time.process_time(), {}
    end = start + c["seconds"]
    if c["callers"] == 1:
        repeat(c["op"], 0, kept, end, out)
    else:
        threads = [threading.Thread(target=repeat, args=(c["op"], i, kept, end, out)) for i in range(c["callers"])]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    if len(out) != c["callers"]:
        raise RuntimeError("a caller failed")
    latencies = sorted(l for _, some in out.values() for l in some)
    at = lambda q: latencies[int(q * (len(latencies) - 1))]
    return {"n": sum(n for n, _ in out.values()), "seconds": took, "cpu": cpu, "p50": at(0.5), "p99": at(0.99)}


print(json.dumps(connected), file=answers, flush=True)
for line in sys.stdin:
    result = work(json.loads(line))
    # What the measurement left for later, such as releases, is not the next one's.
    ray.put(b"")
    print(json.dumps(result), file=answers, flush=True)
