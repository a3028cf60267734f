"""Measures what idle actors weigh: many Go actors of bin/seedcore and some Python actors on one local Ray, side by side.

Writes bench/actor-memory.md, and fails if a Go actor weighs more than LIMIT.
Usage: actor_memory.py [GO ACTORS] [PYTHON ACTORS]
"""

import datetime
import hashlib
import io
import os
import pathlib
import sys
import time
import zipfile

import ray
from ray.experimental.internal_kv import _internal_kv_put

LIMIT = 5.0  # MB; see docs/go-actors.md
IDLE = 10  # seconds until the actors are idle
ROOT = pathlib.Path(__file__).resolve().parent.parent


def package(path):
    """The binary as Ray takes it, and its URI."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        info = zipfile.ZipInfo("seedcore")
        info.external_attr = 0o755 << 16
        z.writestr(info, path.read_bytes())
    return archive.getvalue(), f"gcs://_ray_pkg_{hashlib.sha256(archive.getvalue()).hexdigest()[:32]}.zip"


@ray.remote(num_cpus=0)
class MissTracker:
    """A Go actor of bin/seedcore; here, only the names of its methods."""

    def ping(self): ...


@ray.remote(num_cpus=0)
class Idle:
    def ping(self):
        return {"pid": os.getpid()}


def megabytes(pid, what):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {what} of process {pid}")


def create(cls, count):
    """Makes actors, and returns them, their processes, and how long it took until all had answered, in seconds."""
    started = time.monotonic()
    actors = [cls.remote() for _ in range(count)]
    pids = [pong["pid"] for pong in ray.get([a.ping.remote() for a in actors])]
    if len(set(pids)) != count:
        sys.exit(f"{count} actors live in {len(set(pids))} processes")
    return actors, pids, time.monotonic() - started


def main():
    go = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    python = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    ray.init(include_dashboard=False, num_cpus=2, object_store_memory=80_000_000, log_to_driver=False)
    content, uri = package(ROOT / "bin" / "seedcore")
    _internal_kv_put(uri.encode(), content)
    env = {"working_dir": uri, "py_executable": "./seedcore"}
    kinds = {"Go": create(MissTracker.options(runtime_env=env), go), "Python": create(Idle, python)}
    time.sleep(IDLE)
    lines = [
        "# What idle actors weigh",
        "",
        f"Ray {ray.__version__}, {os.cpu_count()} CPUs, {datetime.datetime.now(datetime.timezone.utc):%F}. Written by make actor-memory. All on one node at"
        f" the same time, {IDLE} s after their last call. Go actors are",
        "those of the whole `seedcore` program, Python actors an empty class. Memory is in MB; PSS divides what processes share among them.",
        "",
        "| actors | number | all answered after | a second | PSS, mean | PSS, heaviest | RSS, mean |",
        "|--- |--- |--- |--- |--- |--- |--- |",
    ]
    mean = {}
    for kind, (_, pids, took) in kinds.items():
        pss = [megabytes(pid, "Pss") for pid in pids]
        mean[kind] = sum(pss) / len(pss)
        rss = sum(megabytes(pid, "Rss") for pid in pids) / len(pids)
        lines.append(f"| {kind} | {len(pids)} | {took:.1f} s | {len(pids) / took:.1f} | {mean[kind]:.2f} | {max(pss):.2f} | {rss:.1f} |")
    report = "\n".join(lines) + "\n"
    print(report)
    if mean["Go"] > LIMIT:
        sys.exit(f"a Go actor weighs more than {LIMIT} MB")
    (ROOT / "bench" / "actor-memory.md").write_text(report)


main()
