"""Functions and actors that the tests call on a real Ray. On the PYTHONPATH of every head that raytest starts."""

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


class Echo:
    def echo(self, value):
        return value
