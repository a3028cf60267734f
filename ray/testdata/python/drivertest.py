"""Functions and classes that the tests of the Go driver run on a real Ray."""

import os
import time

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


class Broken:
    def __init__(self):
        raise ValueError("cannot be built")

    def value(self):
        return 1


def length(value):
    return len(value)
