"""What the examples of the Go driver call."""

import dataclasses
import datetime
import time


def charge(order):
    raise ValueError(f"{order} is paid already")


def forecast(city):
    if city != "Oslo":
        time.sleep(300)
    return f"snow in {city}"


def area(width, height):
    return width * height


def transpose(matrix):
    return matrix.T


@dataclasses.dataclass
class Job:
    name: str
    due: datetime.datetime
    sizes: list


class Queue:
    def next_job(self):
        return Job("report", datetime.datetime(2026, 12, 24, 8, tzinfo=datetime.timezone.utc), [1, 2])


class Stock:
    def __init__(self):
        self.apples = 10

    def take(self, count):
        self.apples -= count
        return self.apples


class Reader:
    def lines(self, path):
        with open(path) as f:
            for line in f:
                yield line.rstrip("\n")
