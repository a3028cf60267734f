"""A Python caller: Ray's driver or Ray Client, by the address. Reads a JSON command a line, answers with a JSON line."""

import json
import os
import sys
import time

import ray
from ray.util.client import ray as client

# Ray prints warnings to standard output, which is for answers.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

address, namespace, names, inline = sys.argv[1:5]
ray.init(address, namespace=namespace, log_to_driver=False, logging_level="warning")


@ray.remote(num_cpus=0)
class Echo:
    def echo(self, data):
        return data


# The actors are made once, by whoever comes first. Those of the second kind answer with large values directly, which
# Ray's own callers do not need: they have the object store.
for name in names.split(","):
    Echo.options(name=name, lifetime="detached", get_if_exists=True).remote()
for name in inline.split(","):
    limits = {"RAY_max_direct_call_object_size": "17000000", "RAY_task_rpc_inlined_bytes_limit": "68000000"}
    Echo.options(name=name, lifetime="detached", get_if_exists=True, runtime_env={"env_vars": limits}).remote()
ray.get([ray.get_actor(n).echo.remote(b"x") for n in (names + "," + inline).split(",")])

if client.is_connected():
    path, settings = "ray client", "driver on the server with task events on"
else:
    from ray._private.worker import SCRIPT_MODE, global_worker

    path = "driver" if global_worker.mode == SCRIPT_MODE else "mode %s" % global_worker.mode
    settings = "task events on"
actors = {}
print(json.dumps({"path": path, "ray": ray.__version__, "settings": settings}), file=answers, flush=True)
for line in sys.stdin:
    c = json.loads(line)
    depth, payload, latencies = c["depth"], b"x" * c["size"], []
    for name in c["actors"]:
        if name not in actors:
            actors[name] = ray.get_actor(name)
    chosen = [actors[name] for name in c["actors"]]
    cpu, start = time.process_time(), time.perf_counter()
    last, end = start, start + c["seconds"]
    while last < end:
        if depth == 1:
            ok = ray.get(chosen[0].echo.remote(payload)) == payload
        else:
            # A batch and one get for all of it: the fastest form that Python has.
            refs = [chosen[i % len(chosen)].echo.remote(payload) for i in range(depth)]
            ok = all(data == payload for data in ray.get(refs))
            del refs
        if not ok:
            raise RuntimeError("wrong echo")
        now = time.perf_counter()
        latencies.append(now - last)
        last = now
    took, cpu = last - start, time.process_time() - cpu
    latencies.sort()
    at = lambda q: latencies[int(q * (len(latencies) - 1))]
    print(json.dumps({"calls": len(latencies) * depth, "seconds": took, "cpu": cpu, "p10": at(0.1), "p50": at(0.5), "p99": at(0.99)}), file=answers, flush=True)
ray.shutdown()
