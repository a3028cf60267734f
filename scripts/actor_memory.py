"""Measures what an idle Go actor weighs: the mean PSS of many actors of bin/seedcore on one local Ray, in MB.

Usage: actor_memory.py [NUMBER OF ACTORS]
"""

import hashlib
import io
import pathlib
import sys
import time
import zipfile

import ray
from ray.experimental.internal_kv import _internal_kv_put

LIMIT = 5.0  # MB; see docs/go-actors.md


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
    def ping(self): ...


def kilobytes(pid, what):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith(what + ":"):
            return int(line.split()[1])


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    ray.init(include_dashboard=False, num_cpus=2, object_store_memory=80_000_000, log_to_driver=False)
    content, uri = package(pathlib.Path(__file__).resolve().parent.parent / "bin" / "seedcore")
    _internal_kv_put(uri.encode(), content)
    create = MissTracker.options(runtime_env={"working_dir": uri, "py_executable": "./seedcore"})
    started = time.monotonic()
    actors = [create.remote() for _ in range(count)]
    pids = [pong["pid"] for pong in ray.get([a.ping.remote() for a in actors])]
    took = time.monotonic() - started
    time.sleep(5)  # to become idle
    pss, rss = (sum(kilobytes(pid, what) for pid in pids) / count / 1024 for what in ("Pss", "Rss"))
    print(f"{count} actors in {took:.1f} s, {took / count:.2f} s each; PSS {pss:.2f} MB, RSS {rss:.2f} MB each")
    if pss > LIMIT:
        sys.exit(f"more than {LIMIT} MB")


main()
