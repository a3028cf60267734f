"""The Python side: does the operations that it reads from standard input with Ray Client, one line each."""

import json
import sys
import threading
import time

import ray

ray.init("ray://" + sys.argv[1], namespace="bench-python")


@ray.remote(num_cpus=0)
class Echo:
    def echo(self, value):
        return value


actors = [Echo.remote() for _ in range(16)]
ray.get([a.echo.remote(b"x") for a in actors])
actor = actors[0]
payload = b"x" * 64
small = ray.put(b"y" * 100)
big = bytes(100 << 20)
big_ref = None


def rss():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024


def threads(n, end):
    counts = [0] * n

    def work(i):
        while time.perf_counter() < end:
            ray.get(actors[i].echo.remote(payload))
            counts[i] += 1

    all = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for t in all:
        t.start()
    for t in all:
        t.join()
    return sum(counts)


def once(op):
    global big_ref
    if op == "call":
        ray.get(actor.echo.remote(payload))
    elif op == "get":
        ray.get(small)
    elif op == "put":
        ray.put(payload)
    elif op == "pipelined":
        ray.get([actor.echo.remote(payload) for _ in range(200)])
        return 200
    elif op == "put100":
        big_ref = ray.put(big)
    elif op == "get100":
        assert len(ray.get(big_ref)) == len(big)
    return 1


print(json.dumps({"rss": rss(), "version": ray.__version__}), flush=True)
for line in sys.stdin:
    command = json.loads(line)
    op, seconds = command["op"], command["seconds"]
    start, cpu, n = time.perf_counter(), time.process_time(), 0
    if op.startswith("callers"):
        n = threads(int(op[7:]), start + seconds)
    else:
        while n == 0 or time.perf_counter() - start < seconds:
            n += once(op)
    print(json.dumps({"n": n, "seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}), flush=True)
