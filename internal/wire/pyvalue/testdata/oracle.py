"""Answers questions about values, one JSON object a line, so that Go can be compared with CPython.

Arguments: the directory that holds numpy.
"""

import sys

sys.path.insert(0, sys.argv[1])

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pickle
import random
import string
import uuid
import zoneinfo

import numpy as np

D, T, DT, TD, TZ = datetime.date, datetime.time, datetime.datetime, datetime.timedelta, datetime.timezone
UTC = TZ.utc
PROTOCOLS = range(2, 6)


@dataclasses.dataclass
class Job:
    name: str
    sizes: list
    parent: "Job | None" = None


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self):
        self.a, self.b = 1, "x"


Pair = collections.namedtuple("Pair", "left right")


class Colour(enum.Enum):
    RED = 1


class Many(list):
    pass


def loop():
    job = Job("loop", [])
    job.parent = job
    return job


def dumps(v):
    return [base64.b64encode(pickle.dumps(v, p)).decode() for p in PROTOCOLS]


def same(a, b, exact):
    """Compares values. exact: with their types; else as far as Go tells them apart."""
    if not exact:
        a, b = loose(a), loose(b)
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype.str == b.dtype.str and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b) or a != a and b != b
    if isinstance(a, complex):
        return same(a.real, b.real, True) and same(a.imag, b.imag, True)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y, exact) for x, y in zip(a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(k in b and same(v, b[k], exact) for k, v in a.items())
    if isinstance(a, DT):
        return a == b and a.utcoffset() == b.utcoffset()
    if isinstance(a, decimal.Decimal):
        return str(a) == str(b)
    return a == b


def loose(v):
    if isinstance(v, (list, tuple, set, frozenset)):
        return [loose(x) for x in v]
    if isinstance(v, dict):
        return {k: loose(x) for k, x in v.items()}
    if isinstance(v, bytearray):
        return bytes(v)
    if isinstance(v, np.generic):
        return v.item()
    return v


def write(question):
    return {"pickles": [dumps(eval(e)) for e in question["expressions"]]}


def load(question):
    """Says which pickles Python does not read: one of them in the arguments of a task would end the session."""
    wrong = []
    for i, data in enumerate(question["pickles"]):
        try:
            pickle.loads(base64.b64decode(data))
        except Exception as e:
            wrong.append([i, repr(e)])
    return {"wrong": wrong}


def read(question):
    """Says which of the pickles do not read as the values of the expressions."""
    wrong = []
    for i, (expression, data) in enumerate(zip(question["expressions"], question["pickles"])):
        want, got = eval(expression), pickle.loads(base64.b64decode(data))
        if not same(want, got, True):
            wrong.append([i, f"{got!r} instead of {want!r}"])
    return {"wrong": wrong}


made = []


def text(r):
    alphabet = string.printable + "\u00e4\u20ac\U0001f600\x00"
    return "".join(r.choice(alphabet) for _ in range(r.choice([0, 1, 5, 300])))


DTYPES = ["?", "i1", "u1", "<i2", ">i2", "<u2", "<i4", ">i4", "<u4", "<i8", ">i8", "<u8", "<f2", ">f2", "<f4", "<f8", ">f8", "<c8", ">c16", "<U3", ">U2", "S4", "<M8[ns]", "<m8[s]"]


def array(r):
    dtype = np.dtype(r.choice(DTYPES))
    shape = tuple(r.randrange(0, 4) for _ in range(r.randrange(0, 4)))
    n = math.prod(shape)
    if dtype.kind in "US":
        a = np.array([str(r.randrange(1000)) for _ in range(n)], dtype=dtype).reshape(shape)
    else:
        a = np.array([r.randrange(0, 100) for _ in range(n)]).astype(dtype).reshape(shape)
    return r.choice([a, np.asfortranarray(a), a.T, a[..., ::-1] if shape else a])


def scalar(r):
    return r.choice(
        [
            lambda: None,
            lambda: r.random() < 0.5,
            lambda: r.randrange(-(2 ** r.choice([3, 8, 16, 31, 32, 63, 64, 200])), 2 ** r.choice([3, 8, 16, 31, 32, 63, 64, 200])),
            lambda: r.choice([r.random(), r.gauss(0, 1e200), -0.0, math.inf, math.nan, 5e-324]),
            lambda: text(r),
            lambda: text(r).encode(),
            lambda: complex(r.random(), -r.random()),
            lambda: uuid.UUID(int=r.getrandbits(128)),
            lambda: decimal.Decimal(r.randrange(-(10**30), 10**30)).scaleb(r.randrange(-40, 40)),
            lambda: D(r.randrange(1, 10000), r.randrange(1, 13), r.randrange(1, 29)),
            lambda: TD(r.randrange(-100000, 100000), r.randrange(86400), r.randrange(1000000)),
            lambda: T(r.randrange(24), r.randrange(60), r.randrange(60), r.randrange(1000000)),
            lambda: DT(r.randrange(1, 10000), r.randrange(1, 13), r.randrange(1, 29), r.randrange(24), r.randrange(60), r.randrange(60), r.randrange(1000000)),
            lambda: DT(r.randrange(2, 9999), 5, 6, r.randrange(24), r.randrange(60), tzinfo=TZ(TD(seconds=r.randrange(-86399, 86399)))),
            lambda: DT(r.randrange(1950, 2037), r.randrange(1, 13), r.randrange(1, 29), 12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).astimezone(TZ(TD(hours=r.randrange(-12, 13)))),
        ]
    )()


def value(r, depth):
    if depth > 4 or r.random() < 0.5:
        return array(r) if r.random() < 0.2 else scalar(r)
    n = r.randrange(0, 5)
    kind = r.randrange(8)
    if kind <= 1:
        return [value(r, depth + 1) for _ in range(n)]
    if kind == 2:
        return tuple(value(r, depth + 1) for _ in range(n))
    if kind == 3:
        return {text(r): value(r, depth + 1) for _ in range(n)}
    if kind == 4:
        return {r.choice([r.randrange(9), str(n), None, 1.5]): value(r, depth + 1) for _ in range(n)}
    if kind == 5:
        return {(k, n): value(r, depth + 1) for k in (scalar(r) for _ in range(n)) if k == k}
    if kind == 6:
        return bytearray(text(r).encode())
    return r.choice([set, frozenset])(v for v in (scalar(r) for _ in range(n)) if v == v)


def invent(question):
    r = random.Random(question["seed"])
    made[:] = [value(r, 0) for _ in range(question["count"])]
    return {"pickles": [dumps(v) for v in made]}


def check(question):
    wrong = []
    for i, data in enumerate(question["pickles"]):
        got = pickle.loads(base64.b64decode(data))
        if not same(made[i], got, False):
            wrong.append([i, f"{got!r} instead of {made[i]!r}"[:2000]])
    return {"wrong": wrong}


ANSWERS = {"write": write, "read": read, "load": load, "invent": invent, "check": check}


def main():
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = ANSWERS[question["ask"]](question)
        except Exception as e:
            answer = {"failure": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), flush=True)


main()
