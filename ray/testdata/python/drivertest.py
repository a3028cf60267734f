"""Functions and classes that the tests of the Go driver run on a real Ray."""

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import os
import threading
import time
import uuid
import zlib

import ray


def echo(value):
    return value


def add(a, b):
    return a + b


def sleep_then(seconds, value):
    time.sleep(seconds)
    return value


def blob(size):
    return bytes(i % 251 for i in range(1024)) * (size // 1024)


def fail(text):
    raise ValueError(text)


def fail_with_file(path):
    return open(path)


class CustomError(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)


def fail_custom():
    raise CustomError(1, "two")


def returned_exception():
    return KeyError("a value, not raised")


def oddities():
    return {"tuple": (1, "a"), "set": {7}, "big": 2**64 - 1, "bytearray": bytearray(b"xy"), "keys": {1: "one"}}


def nested():
    return {"refs": [ray.put("inner")]}


def a_class():
    return CustomError


def unwrap(holder):
    return ray.get(holder["ref"])


def ask(actor):
    return ray.get(actor.value.remote())


class Counter:
    def __init__(self, start=0):
        self.count = start

    def incr(self, by=1):
        self.count += by
        return self.count

    def value(self):
        return self.count

    def pid(self):
        return os.getpid()

    def env(self, name):
        return os.environ.get(name)

    def sleep(self, seconds):
        time.sleep(seconds)
        return self.count

    def fail(self, text):
        raise RuntimeError(text)

    def exit(self):
        os._exit(3)

    def echo(self, value):
        return value


class SlowlyBroken:
    def __init__(self):
        time.sleep(1)
        raise ValueError("cannot be built")

    def value(self):
        return 0


class Broken:
    def __init__(self):
        raise ValueError("cannot be built")

    def value(self):
        return 1


def checksums(*values):
    return [f"{len(v)} {zlib.crc32(v):08x}" for v in values]


def length(value):
    return len(value)


@dataclasses.dataclass
class Job:
    name: str
    sizes: list
    parent: "Job | None" = None


Pair = collections.namedtuple("Pair", "left right")


class Colour(enum.Enum):
    RED = 1


def arrays():
    import numpy as np

    return {
        "plain": np.arange(6, dtype="f8").reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
        "strided": np.arange(10, dtype="u2")[::2],
        "text": np.array(["a", "bcd"]),
        "flags": np.array([[True], [False]]),
        "scalar": np.float32(1.5),
        "single": np.array(7),
        "large": np.arange(1000, dtype="i8"),
    }


def describe(array):
    return {"type": type(array).__name__, "dtype": array.dtype.str, "shape": list(array.shape), "values": array.tolist(), "writable": array.flags.writeable}


def things():
    return {
        "job": Job("child", [1, 2], Job("parent", [])),
        "pair": Pair(1, "r"),
        "colour": Colour.RED,
        "when": datetime.datetime(2026, 11, 24, 8, 30, tzinfo=datetime.timezone.utc),
        "naive": datetime.datetime(2026, 11, 24, 8, 30),
        "took": datetime.timedelta(seconds=90),
        "price": decimal.Decimal("19.90"),
        "id": uuid.UUID(int=5),
        "ordered": collections.OrderedDict(z=1, a=2),
        "by tuple": {(1, 2): "x"},
        "function": os.getpid,
    }


def containers():
    script_enum = type(enum)("script")  # a module that nothing can import, as a class in a script has it
    exec("import enum\nclass Level(enum.Enum):\n    LOW = 1", script_enum.__dict__)
    return {
        "range": range(1, 10, 4),
        "down": range(3, 0, -1),
        "endless": range(10**12),
        "counter": collections.Counter("abca"),
        "no counts": collections.Counter(),
        "deque": collections.deque([1, 2], maxlen=5),
        "empty": collections.deque(maxlen=5),
        "default": collections.defaultdict(list, {1: [2]}),
        "ordered": collections.OrderedDict(),
        "by pair": {(1, 2): "x"},
        "job": Job("n", [1]),
        "level": script_enum.Level.LOW,
    }


def show(*values):
    return [f"{type(v).__name__} {v!r}" for v in values]


def resolve(holder):
    """Gets every ref and asks every actor in nested lists, tuples and dicts."""
    if isinstance(holder, ray.ObjectRef):
        return resolve(ray.get(holder))
    if isinstance(holder, ray.actor.ActorHandle):
        return ray.get(holder.value.remote())
    if isinstance(holder, dict):
        return {key: resolve(value) for key, value in holder.items()}
    if isinstance(holder, (list, tuple)):
        return [resolve(value) for value in holder]
    return holder


def return_same(holder):
    return holder


class Values:
    def checksums(self, *values):
        return checksums(*values)

    def named(self, a, *, b=0, c=None):
        return [a, b, c]

    def arrays(self):
        return arrays()

    def things(self):
        return {"pair": (1, "r"), "job": Job("n", [1]), "price": decimal.Decimal("19.90")}


class Store:
    """Results of any size, and what the object store of its node holds."""

    def blob(self, size):
        return bytes(size)

    def slow_blob(self, size):
        time.sleep(1)
        return bytes(size)

    def used(self):
        from ray._private.internal_api import node_stats

        node = ray.nodes()[0]
        stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"])
        return stats.store_stats.object_store_bytes_used


def keywords(a, *, b=0, c=0):
    return [a, b, c]


def several(n):
    return tuple(range(n))


def generate(n):
    for i in range(n):
        yield {"item": i}


def fail_until(path, attempts):
    """Fails until it was called that often; counts in a file."""
    with open(path, "a+") as f:
        f.write("x")
        f.seek(0)
        n = len(f.read())
    if n < attempts:
        raise ValueError(f"attempt {n}")
    return n


def crash():
    os._exit(1)


def where():
    context = ray.get_runtime_context()
    return {"node": context.get_node_id(), "group": context.get_placement_group_id() or ""}


def variable(name):
    return os.environ.get(name)


def call_dead_actor(actor):
    ray.get(actor.value.remote())


def impatient():
    ray.get(sleeper.remote(), timeout=0.1)


@ray.remote(num_cpus=0)
def sleeper():
    time.sleep(60)


def spin(seconds):
    """Can be interrupted at any time, unlike one long sleep."""
    end = time.time() + seconds
    while time.time() < end:
        time.sleep(0.01)


def descend(depth, note):
    """Runs `depth` tasks, each the child of the one before, until one is interrupted."""
    if depth > 0:
        return ray.get(ray.remote(num_cpus=0, max_retries=0)(descend).remote(depth - 1, note))
    with open(note, "w") as file:
        file.write("started")
    spin(80)


class Descent:
    def descend(self, depth, note):
        return descend(depth, note)

    def give_up(self):
        ref = sleeper.remote()
        ray.cancel(ref)
        return ray.get(ref)


def in_working_dir():
    with open("data/hello.txt") as f:
        return f.read()


class Grouped:
    @ray.method(concurrency_group="io")
    def hold(self, seconds):
        time.sleep(seconds)

    def quick(self):
        return "quick"


class Odd:
    """Methods that do with arguments and results what a caller may not expect."""

    def echo(self, *args):
        return args[0] if args else None

    def none(self):
        pass

    def generator(self, *args):
        yield 1
        yield 2

    @ray.method(num_returns=2)
    def pair(self, *args):
        return 1, 2

    @ray.method(num_returns=0)
    def nothing(self, *args):
        return None

    def ref(self, *args):
        return ray.put(1)

    def refs(self, *args):
        return [ray.put(1), {"k": ray.put(2)}]

    def handle(self, *args):
        return ray.get_runtime_context().current_actor

    def large(self, *args):
        return bytes(200_000)

    def large_error(self, *args):
        raise ValueError("x" * 300_000)

    def lock(self, *args):
        return threading.Lock()

    def locked_error(self, *args):
        error = ValueError("holds a lock")
        error.lock = threading.Lock()
        raise error

    def keywords(self, *, needed):
        return needed

    def child(self, *args):
        return ray.get(ray.remote(num_cpus=0)(lambda: 1).remote())


class AsyncOdd:
    """The same for an asyncio actor."""

    async def echo(self, *args):
        return args[0] if args else None

    async def generator(self, *args):
        yield 1
        yield 2

    async def refs(self, *args):
        return [ray.put(1)]

    async def large(self, *args):
        return bytes(200_000)

    async def fails(self, *args):
        raise CustomError(1, "two")

    def plain(self, *args):
        return 1


class Streams:
    """Generators for streaming calls, and what became of them."""

    def __init__(self):
        self.made = 0
        self.closed = 0

    def count(self, n, size=0):
        try:
            for i in range(n):
                self.made = i + 1
                yield bytes(size) if size else i
        finally:
            self.closed += 1

    def fails(self, n):
        for i in range(n):
            yield i
        raise ValueError("in the middle")

    def dies(self, n):
        for i in range(n):
            yield i
        time.sleep(0.2)
        os._exit(1)

    def odd(self):
        yield 1
        yield bytes(200_000)
        yield ray.put(1)
        yield threading.Lock
        yield [ray.put(2)]
        yield 2

    def unsendable(self):
        yield 1
        yield threading.Lock()
        yield 2

    def plain(self):
        return 7

    def state(self):
        return [self.made, self.closed]


class AsyncStreams:
    """The same for an asyncio actor."""

    def __init__(self):
        self.made = 0
        self.closed = 0

    async def count(self, n, size=0):
        try:
            for i in range(n):
                self.made = i + 1
                yield bytes(size) if size else i
                await asyncio.sleep(0)
        finally:
            self.closed += 1

    async def fails(self, n):
        for i in range(n):
            yield i
        raise ValueError("in the middle")

    async def plain(self):
        return 7

    async def state(self):
        return [self.made, self.closed]


class Feed:
    """A method that is a generator, and what it did."""

    def __init__(self):
        self.begun = 0

    def items(self, n):
        self.begun += 1
        yield from [i for i in range(n)]

    def count(self):
        return self.begun


def process():
    return os.getpid()


def task_name():
    """Ray 2.40 cannot tell a task its name."""
    context = ray.get_runtime_context()
    return context.get_task_name() if hasattr(context, "get_task_name") else ""


def who_am_i():
    return {"Name": task_name(), "Resources": ray.get_runtime_context().get_assigned_resources()}


def crash_once(path):
    """Ends its process, but for the second time."""
    if os.path.exists(path):
        return "again"
    with open(path, "x"):
        pass
    os._exit(1)


def groups():
    """The placement group of this task, and that of one that it starts."""
    own = ray.get_runtime_context().get_placement_group_id()
    return [own, ray.get(group_of_child.remote())]


@ray.remote(num_cpus=0)
def group_of_child():
    return ray.get_runtime_context().get_placement_group_id()


class Attentive:
    def __init__(self, parties):
        self.barrier = threading.Barrier(parties)

    def meet(self):
        self.barrier.wait(60)

    def task_name(self):
        return task_name()

    def die_once(self, path):
        return crash_once(path)

    def fail_until(self, path, attempts):
        return fail_until(path, attempts)


def mark_process():
    """A worker_process_setup_hook."""
    os.environ["DRIVER_TEST_HOOK"] = "ran"
