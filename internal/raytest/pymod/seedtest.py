"""Functions and actors that the tests call on a real Ray. On the PYTHONPATH of every head that raytest starts."""

import asyncio
import os
import time


def add(a, b):
    return a + b


def echo(value):
    return value


def boom(message="boom"):
    raise ValueError(message)


def slow(seconds):
    """Returns the seconds, after them."""
    time.sleep(seconds)
    return seconds


def trace():
    """A hook for Ray's own tracing, which Ray calls in every process."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider())


class Counter:
    """Counts the calls that reached it: what was sent can be compared with what was executed."""

    def __init__(self, start=0):
        self.value = start

    def incr(self, by=1):
        self.value += by
        return self.value

    def get(self):
        return self.value

    def sleep(self, seconds):
        time.sleep(seconds)
        return seconds

    def boom(self, message="boom"):
        raise ValueError(message)

    def pid(self):
        return os.getpid()


class Ledger:
    """Appends the number of each call to a file, which outlives the actor and its node, before it answers."""

    def __init__(self, path):
        self.file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)

    def note(self, number):
        os.write(self.file, f"{number}\n".encode())

    def refuse(self, number):
        self.note(number)
        raise ValueError("refused")


class Tally:
    """Counts calls, and writes each down with the life of the process and the count. The same actor as the class Tally of
    worker/internal/testworker."""

    def __init__(self, path):
        self.file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        self.life = os.urandom(16).hex()
        self.n = 0

    def count(self, call, seconds):
        self.n += 1
        os.write(self.file, f"{call} {self.life} {self.n}\n".encode())
        time.sleep(seconds)
        return self.n

    def refuse(self, call, seconds):
        self.count(call, seconds)
        raise RuntimeError("refused")


class Echo:
    def echo(self, value):
        return value


class Subject:
    """The same actor as the class Subject of worker/internal/testworker."""

    def __init__(self, start=0):
        self.n = start
        self.records = []

    def echo(self, value):
        return value

    def add(self, n):
        self.n += n
        return self.n

    def reset(self):
        self.n, self.records = 0, []

    def record(self, value):
        self.records.append(value)

    def recorded(self):
        return self.records

    def fail(self, text):
        raise RuntimeError(text)

    def size(self, value):
        return len(value)

    def make(self, size):
        return b"x" * size

    def count(self, n, text):
        for i in range(n):
            yield i
        if text:
            raise RuntimeError(text)


class Waiter:
    """Waits until it is cancelled, and counts that. The same actor as the class Waiter of worker/internal/testworker."""

    def __init__(self):
        self.waiting, self.cancelled = 0, 0

    async def wait(self):
        self.waiting += 1
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1

    async def wait_for(self, name):
        """Waits for the wait of another actor."""
        import ray

        await ray.get_actor(name).wait.remote()

    async def state(self):
        return [self.waiting, self.cancelled]
