"""A Python driver that uses Go actors. It writes one line of JSON a finding to a file; the Go test judges them."""
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import ray

address, dashboard, namespace, uri, package, findings, conformance = sys.argv[1:]
ENV = {"working_dir": uri, "py_executable": """bash -c '[ -x testworker ] || chmod +x testworker; exec ./testworker "$@"' testworker"""}


def found(name, value):
    with open(findings, "a") as f:  # not to stdout, where Ray's threads print the logs of the actors
        print(json.dumps({"name": name, "value": value}, default=repr), file=f)


def outcome(f):
    """The value of f(), or the exception: its classes and its text."""
    try:
        return {"value": f()}
    except Exception as e:
        return {"raised": [c.__name__ for c in type(e).__mro__], "text": str(e)}


def alive(pid):
    return os.path.exists(f"/proc/{pid}")


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def upload():
    with open(package, "rb") as f:
        body = f.read()
    if address.startswith("ray://"):
        from ray.experimental.internal_kv import _internal_kv_put

        _internal_kv_put(uri.encode(), body)
    else:
        request = urllib.request.Request(f"http://{dashboard}/api/packages/gcs/{uri.split('//')[1]}", data=body, method="PUT")
        urllib.request.urlopen(request, timeout=30).read()


@ray.remote
class Counter:
    """The stub: names of methods, nothing else."""

    def __init__(self, *args):
        raise RuntimeError("Python runs the stub")

    def echo(self, *args): ...
    def add(self, *args): ...
    def record(self, *args): ...
    def list(self): ...
    def named(self, *args, **kwargs): ...
    def several(self): ...
    def fail(self, *args): ...
    def panics(self): ...
    def goexit(self): ...
    def unsendable(self): ...
    def meet(self, *args): ...
    def hold(self): ...
    def pid(self): ...
    def exit(self): ...
    def crash(self): ...
    def say(self, *args): ...
    def memory(self): ...
    def missing(self): ...

    def stream(self, *args):
        yield

    def one_value(self):  # which the Go method returns, against this declaration
        yield


def create(*args, **options):
    defaults = dict(runtime_env=ENV, num_cpus=0, lifetime="detached", name=f"actor-{time.monotonic_ns()}")
    return Counter.options(**{**defaults, **options}).remote(*args)


def get(ref, timeout=60):
    return ray.get(ref, timeout=timeout)


def both_kinds_of_driver(a):
    """What has to work through a native driver and through Ray Client."""
    values = [b"\x00\xff", "text", {"a": {"b": [1, 2.5, None, True]}}, [[1, [2, ["three"]]], b"four"], None, -(2**62)]
    found("echo", all(get(a.echo.remote(v)) == v for v in values))
    found("pipelined", get([a.add.remote() for _ in range(200)]) == list(range(6, 206)))
    found("error", outcome(lambda: get(a.fail.remote("reason"))))
    found("panic", outcome(lambda: get(a.panics.remote())))
    found("goexit", outcome(lambda: get(a.goexit.remote())))
    found("unknown method", outcome(lambda: get(a.missing.remote())))
    found("constructor", outcome(lambda: get(create("wrong", name="wrong", max_restarts=-1).echo.remote(1))))
    found("constructor panic", outcome(lambda: get(create("panic").echo.remote(1))))
    found("still answers", get(a.echo.remote("yes")))


def tagged(v):
    """The form of a value in JSON that keeps its type, the same in conformance_test.go."""
    if v is None or isinstance(v, bool):
        return v
    if isinstance(v, int):
        return {"int": str(v)}
    if isinstance(v, float):
        return {"float": repr(v)}
    if isinstance(v, str):
        return {"str": v}
    if isinstance(v, bytes):
        return {"bytes": v.hex()}
    if isinstance(v, list):
        return {"list": [tagged(x) for x in v]}
    if isinstance(v, dict):
        return {"dict": [[k, tagged(v[k])] for k in sorted(v)] or None}
    return f"a {type(v)}"


def untagged(v):
    if not isinstance(v, dict):
        return v
    ((tag, x),) = v.items()
    read = {
        "int": int,
        "float": float,
        "str": str,
        "bytes": bytes.fromhex,
        "list": lambda items: [untagged(item) for item in items],
        "dict": lambda items: {k: untagged(item) for k, item in items or []},
    }
    return read[tag](x)


def conforms():
    """Goes through the cases; the Go test judges the outcomes."""
    with open(conformance) as f:
        suite = json.load(f)
    for name in suite["subjects"]:
        subject = ray.get_actor(name, namespace=suite["namespace"])

        def call(case):
            try:
                ref = getattr(subject, case["method"]).remote(*[untagged(a) for a in case["args"]])
            except AttributeError:
                return lambda: {"raised": "no such method", "text": ""}

            def wait():
                try:
                    return tagged(get(ref))
                except ray.exceptions.RayTaskError as e:
                    return {"raised": type(e.cause).__name__, "text": str(e)}

            return wait

        cases = [call(c)() for c in suite["cases"]]
        waiting = [call(c) for c in suite["burst"]]
        burst = [wait() for wait in waiting]

        def calls(caller):
            for first in range(0, suite["crowd"]["calls"], 10):
                get([subject.record.remote([caller, n]) for n in range(first, first + 10)])

        get(subject.reset.remote())
        callers = [threading.Thread(target=calls, args=(i,)) for i in range(suite["crowd"]["callers"])]
        for c in callers:
            c.start()
        for c in callers:
            c.join()
        found(f"conformance {name}", {"cases": cases, "burst": burst, "crowd": get(subject.recorded.remote())})


def streams():
    """A Go actor that streams, through Ray's own generators."""
    a = create()
    if not ray.__version__.startswith("2.60."):
        found("stream", outcome(lambda: get(next(a.stream.remote(1)))))
        return
    items = list(a.stream.remote(1000))
    found("stream", [get(item) for item in items[:-1]] == list(range(1000)))
    found("stream error", outcome(lambda: get(items[-1])))
    found("stream as a value", outcome(lambda: get(a.stream.options(num_returns=1).remote(3))))
    declared = ray.get_actor("subject-go", namespace=json.load(open(conformance))["namespace"])  # by a driver in Go
    found("stream of another", outcome(lambda: declared.count.options(num_returns="streaming").remote(1, "")))
    found("a value as a stream", outcome(lambda: [get(item) for item in a.one_value.remote()]))

    few = a.stream.options(num_returns="streaming", _generator_backpressure_num_objects=4)
    items = few.remote(1_000_000)
    found("stream with back-pressure", [get(next(items)) for _ in range(100)] == list(range(100)))
    ray.cancel(items)
    found("stream cancelled", outcome(lambda: [get(item) for item in items]))
    found("stream was held back", 100 <= get(a.add.remote(0)) <= 110)
    for held_back in (False, True):
        items = few.remote(1_000_000)
        get(next(items))
        if held_back:
            time.sleep(0.5)
        del items  # which Ray does not tell the actor
        found(f"stream dropped, held back {held_back}", get(a.echo.remote("free again")))
    items = few.remote(20)
    time.sleep(4)  # the actor offers an item that is there already, twice
    found("stream to one who is late", [get(next(items)) for _ in range(20)] == list(range(20)))

    async def collect():
        return [await item async for item in wide.stream.remote(3)]

    wide = create(max_concurrency=4)
    found("stream in asyncio", outcome(lambda: asyncio.run(collect())))


MAX_VALUE = 16 << 20
LIMITS = {"RAY_max_direct_call_object_size": str(MAX_VALUE + 1024), "RAY_task_rpc_inlined_bytes_limit": str(64 << 20)}


def subject(name, **options):
    """An actor of the class Subject, whose OnExit says its name."""

    class Subject:
        def __init__(self, *args): ...
        def size(self, *args): ...
        def make(self, *args): ...
        def once(self, *args): ...
        def pid(self): ...
        def add(self, *args): ...

    defaults = dict(runtime_env=ENV, num_cpus=0, lifetime="detached", name=name)
    return ray.remote(Subject).options(**{**defaults, **options}).remote(0)


def grouped():
    @ray.remote(concurrency_groups={"io": 2})
    class Counter:
        def hold(self): ...

        @ray.method(concurrency_group="io")
        def meet(self, *args): ...

    a = Counter.options(runtime_env=ENV, num_cpus=0).remote()
    held = a.hold.remote()
    found("groups", get([a.meet.remote(2), a.meet.remote(2)]))
    found("no group", outcome(lambda: get(a.meet.options(concurrency_group="none").remote(2))))
    ray.cancel(held)


def drained():
    """An actor on a node of its own, which is drained and then ends, as a spot instance does."""
    ray_program = os.path.join(os.path.dirname(sys.executable), "ray")
    node = subprocess.Popen(
        [ray_program, "start", f"--address={address}", "--node-ip-address=127.0.0.1", "--num-cpus=1", "--resources", '{"second": 1}', "--block"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        a = subject("on-drained", resources={"second": 1})
        get(a.add.remote(1), 60)
        pid = get(a.pid.remote())
        (info,) = [n for n in ray.nodes() if n["Alive"] and "second" in n["Resources"]]
        gcs = ray._raylet.GcsClient(address=address)
        reason = ray.core.generated.autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        gcs.drain_node(info["NodeID"], reason, "preempted", int((time.time() + 1) * 1000))
        found("draining", get(a.add.remote(1)))  # goes on until the node ends
        os.kill(parent(pid), signal.SIGTERM)
        found("drained", until(lambda: not alive(pid)))
        found("drained call", outcome(lambda: get(a.add.remote(1))))
    finally:
        node.terminate()
        node.wait(30)


def parent(pid):
    return int(open(f"/proc/{pid}/status").read().split("PPid:")[1].split()[0])


def main():
    if address.startswith("ray://"):
        ray.init(address, namespace=namespace, log_to_driver=True, runtime_env={"env_vars": LIMITS})
    else:
        os.environ.update(LIMITS)
        ray.init(address, namespace=namespace, log_to_driver=True)
    upload()
    a = create(5, name="kept", max_restarts=-1)
    get(a.__ray_ready__.remote())
    found("pid", get(a.pid.remote()))
    both_kinds_of_driver(a)
    conforms()
    large = subject("large", lifetime=None)
    found("large argument", get(large.size.remote(b"x" * MAX_VALUE)))
    found("large result", len(get(large.make.remote(MAX_VALUE))))
    if address.startswith("ray://"):
        return

    found("same by name", get(ray.get_actor("kept").pid.remote()))
    found("keyword", get(a.named.remote(1, key=[2])))
    found("several", get(a.several.options(num_returns=3).remote()))
    found("several wrong", outcome(lambda: get(a.several.options(num_returns=2).remote())))
    found("unsendable", outcome(lambda: get(a.unsendable.remote())))
    found("reference to a result", get(a.echo.remote(a.echo.remote("small"))))
    found("reference to an object", outcome(lambda: get(a.echo.remote(ray.put("small")))))
    found("larger argument", outcome(lambda: get(large.size.remote(b"x" * 17_000_000))))
    found("larger result", outcome(lambda: get(large.make.remote(17_000_000))))
    found("tuple", outcome(lambda: get(a.echo.remote((1, "two")))))
    streams()
    get([a.record.remote(i) for i in range(200)])
    found("recorded in order", get(a.list.remote()) == list(range(200)))
    found("normal task", outcome(lambda: get(ray.remote(lambda: 1).options(runtime_env=ENV).remote())))

    get(a.say.remote("hello from Go"))

    wide = create(max_concurrency=4)
    found("rendezvous", get([wide.meet.remote(4) for _ in range(4)]))
    grouped()
    held = wide.hold.remote()
    time.sleep(0.2)
    ray.cancel(held)
    found("cancel running", outcome(lambda: get(held)))
    narrow = create()
    held = narrow.hold.remote()
    behind = narrow.echo.remote("behind")
    time.sleep(0.5)
    ray.cancel(behind)
    found("cancel waiting", outcome(lambda: get(behind)))
    ray.cancel(held)
    found("cancel in front", outcome(lambda: get(held)))
    found("after cancel", get(narrow.echo.remote("after")))

    from ray.util.state import list_actors, list_workers

    pid = get(a.pid.remote())
    found("list_actors", [[x.class_name, x.state, x.pid == pid] for x in list_actors(address=f"http://{dashboard}") if x.name == "kept"])
    found("list_workers", [[w.worker_type, w.is_alive] for w in list_workers(address=f"http://{dashboard}") if w.pid == pid])

    found("constructor state", [x.state for x in list_actors(address=f"http://{dashboard}") if x.name == "wrong"][0])

    # Ends of processes.
    get(a.add.remote(1000))
    os.kill(pid, signal.SIGKILL)
    found("killed -9", until(lambda: outcome(lambda: get(a.pid.remote(), 5)).get("value", pid) != pid))
    found("restarted without state", get(a.add.remote()))
    for how in ("exit", "crash"):
        pid = get(a.pid.remote())
        found(how, outcome(lambda: get(getattr(a, how).remote())))
        found(f"{how} restarts", until(lambda: outcome(lambda: get(a.pid.remote(), 5)).get("value", pid) != pid))
    pid = get(a.pid.remote())
    ray.kill(a, no_restart=False)
    found("kill restarts", until(lambda: outcome(lambda: get(a.pid.remote(), 5)).get("value", pid) != pid) and until(lambda: not alive(pid)))
    pid = get(narrow.pid.remote())
    os.kill(pid, signal.SIGTERM)
    found("sigterm", until(lambda: not alive(pid)))
    pid = get(wide.pid.remote())
    blocked = wide.hold.remote()
    time.sleep(0.2)
    ray.kill(wide)
    found("kill", until(lambda: not alive(pid)))
    found("killed call", outcome(lambda: get(blocked)))
    ending = create(name="ending", max_restarts=-1)
    pid = get(ending.pid.remote())
    found("terminate", outcome(lambda: get(ending.__ray_terminate__.remote())))
    found("terminated", until(lambda: not alive(pid)) and until(lambda: "raised" in outcome(lambda: ray.get_actor("ending"))))
    scoped = create(lifetime=None)
    pid = get(scoped.pid.remote())
    del scoped
    found("out of scope", until(lambda: not alive(pid)))

    directory = tempfile.mkdtemp()
    retried = subject("retried", max_restarts=-1, max_task_retries=1)
    found("max_task_retries", get(retried.once.remote(directory + "/a")))
    single = subject("single", max_restarts=-1)
    found("no retries", outcome(lambda: get(single.once.remote(directory + "/b"))))
    shutil.rmtree(directory)
    mortal = subject("mortal-py", max_restarts=1)
    pid = get(mortal.pid.remote())
    os.kill(pid, signal.SIGKILL)
    until(lambda: outcome(lambda: get(mortal.pid.remote(), 5)).get("value", pid) != pid)
    os.kill(get(mortal.pid.remote()), signal.SIGKILL)
    found("restarts used up", outcome(lambda: get(mortal.add.remote(1))))

    asked = {how: subject("on-" + how, lifetime=None if how == "scoped" else "detached") for how in ("sigterm", "terminated", "scoped")}
    pids = get([s.pid.remote() for s in asked.values()])
    for s in list_actors(address=f"http://{dashboard}"):
        if s.name == "on-sigterm":
            os.kill(s.pid, signal.SIGTERM)
    asked.pop("terminated").__ray_terminate__.remote()
    del s
    asked.clear()
    drained()
    found("asked to end", until(lambda: not any(alive(pid) for pid in pids)))

    found("memory", get(a.memory.remote()))
    found("left", [get(a.pid.remote()), parent(get(a.pid.remote()))])


main()
