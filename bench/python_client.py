"""The peer: Ray's Python API, as a client or as a driver by the address it is given. Reads one JSON command a line, answers one JSON line."""

import json
import sys
import time

import ray

PAYLOAD = b"x" * 64


class PythonRayAgent:
    def echo(self, data):
        return data

    def execute_task(self, task):
        return task

    def ping(self):
        return "pong"


def sync(actor, seconds, _depth):
    latencies = []
    end = time.perf_counter() + seconds
    start = last = time.perf_counter()
    while last < end:
        if ray.get(actor.echo.remote(PAYLOAD)) != PAYLOAD:
            raise RuntimeError("wrong echo")
        now = time.perf_counter()
        latencies.append(now - last)
        last = now
    return len(latencies), last - start, latencies


def pipelined(actor, seconds, depth):
    """Batches of `depth` calls, gathered by one get: the fastest form that Ray Client has."""
    latencies = []
    start = time.perf_counter()
    end = start + seconds
    calls = 0
    while time.perf_counter() < end:
        t = time.perf_counter()
        for data in ray.get([actor.echo.remote(PAYLOAD) for _ in range(depth)]):
            if data != PAYLOAD:
                raise RuntimeError("wrong echo")
        latencies += [time.perf_counter() - t] * depth
        calls += depth
    return calls, time.perf_counter() - start, latencies


def main():
    address, namespace, name = sys.argv[1:4]
    ray.init(address, namespace=namespace, log_to_driver=False, logging_level="warning")
    ray.remote(PythonRayAgent).options(name=name, lifetime="detached", num_cpus=0.1, get_if_exists=True).remote()
    ray.get(ray.get_actor(name).ping.remote())
    print(json.dumps({"ray": ray.__version__}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        actor = ray.get_actor(command["actor"])
        calls, seconds, latencies = globals()[command["mode"]](actor, command["seconds"], command["depth"])
        print(json.dumps({"calls": calls, "seconds": seconds, "latencies": latencies}), flush=True)
    ray.shutdown()


main()
