"""Answers questions about pickles, one JSON object a line on stdin, one on stdout.

{"ask": "values"}            -> every value below, in every protocol and by every writer, with its canonical form
{"ask": "load", "pickle": ...} -> the canonical form of what CPython reads, or an error
                                (with "sloppy" also of pickles that CPython would not write)

The other questions are described at the functions that answer them.
"""

import array
import base64
import collections
import copyreg
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import io
import ipaddress
import json
import math
import operator
import pathlib
import pickle
import pickletools
import struct
import sys
import types
import uuid
import _compat_pickle


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b


class KeywordNew(Point):
    def __new__(cls, x, *, y):
        return super().__new__(cls)

    def __init__(self, x, *, y):
        super().__init__(x, y)

    def __getnewargs_ex__(self):
        return (self.x,), {"y": self.y}


class Numbers(list):
    pass


class Named(dict):
    pass


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Pair(collections.namedtuple("Pair", "left right")):
    pass


@dataclasses.dataclass
class Record:
    name: str
    tags: list
    parent: "Record | None" = None


class Outer:
    class Inner(Point):
        pass


class Failure(Exception):
    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code


def slotted():
    return Slotted(1, [2])


def numbers():
    n = Numbers([1, 2, 3])
    n.note = "with state"
    return n


def failure():
    f = Failure(7, "no")
    f.__dict__["extra"] = {"k": (1,)}
    return f


VALUES = {
    "none": None,
    "true": True,
    "false": False,
    "ints": [0, 1, -1, 127, 128, 255, 256, -128, -129, 65535, 65536, -65536],
    "ints32": [2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32, 2**40, -(2**40)],
    "ints64": [2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64],
    "long": [10**40, -(10**40), 2**127, -(2**127), 2**128 - 1, -(2**2040), 2**2039 - 1],
    "long4": [1 << 3000, -(1 << 3000), (1 << 2048) - 3],
    "floats": [0.0, -0.0, 1.5, -2.25, 1e300, 5e-324, 0.1, math.pi, 1.7976931348623157e308],
    "float-specials": [math.inf, -math.inf, math.nan],
    "empty-str": "",
    "ascii": "hello, world",
    "utf8": "gr\u00fc\u00df \u4f60\u597d \U0001f600 \x00\x7f",
    "escapes": "line\nreturn\rback\\slash\\u0041 \\\\u0042 \x1a\x00'\" tab\t",
    "surrogate": "file-\udc80\udcff-\ud800.txt",
    "str-255": "x" * 255,
    "str-256": "\u00e9" * 128,
    "str-long": "abc\u20ac" * 20000,
    "empty-bytes": b"",
    "bytes": bytes(range(256)),
    "bytes-255": b"\xff" * 255,
    "bytes-long": b"\x00\x01" * 40000,
    "bytearray": bytearray(b"mutable \xff"),
    "empty-bytearray": bytearray(),
    "empty-tuple": (),
    "tuple-1": (1,),
    "tuple-2": (1, "b"),
    "tuple-3": (1, "b", None),
    "tuple-4": (1, 2, 3, 4),
    "tuple-nested": (((), (1,)), ((2, 3), (4, 5, 6, (7, 8, 9, 10)))),
    "empty-list": [],
    "list-1": ["one"],
    "list-2500": list(range(2500)),
    "list-nested": [[], [[]], [[[1]]], [{"a": []}]],
    "empty-dict": {},
    "dict-1": {"k": "v"},
    "dict": {"b": 1, "a": [2.5, None], "nested": {"deep": {"er": (True,)}}},
    "dict-keys": {1: "int", 2.5: "float", b"b": "bytes", (1, "t"): "tuple", None: "none", frozenset([1]): "fs"},
    "dict-2500": {f"key{i}": i for i in range(2500)},
    "empty-set": set(),
    "set": {3, 1, 2},
    "set-strings": {"b", "a", "c"},
    "set-2500": set(range(2500)),
    "empty-frozenset": frozenset(),
    "frozenset": frozenset(["x", ("y", 1)]),
    "sets-in-set": {frozenset([1]), frozenset([2, 3])},
    "complex": complex(1, -2),
    "range": range(1, 10, 3),
    "slice": slice(1, None, 2),
    "ellipsis": ...,
    "date": datetime.date(2026, 11, 24),
    "datetime": datetime.datetime(2026, 11, 24, 8, 30, 15, 123456, tzinfo=datetime.timezone.utc),
    "timedelta": datetime.timedelta(days=-1, seconds=5, microseconds=7),
    "timezone": datetime.timezone(datetime.timedelta(hours=2), "X"),
    "decimal": decimal.Decimal("3.14159265358979323846"),
    "fraction": fractions.Fraction(-3, 7),
    "uuid": uuid.UUID("12345678123456781234567812345678"),
    "path": pathlib.PurePosixPath("/tmp/x/y"),
    "ip": ipaddress.ip_address("10.0.0.1"),
    "ordereddict": collections.OrderedDict([("z", 1), ("a", 2)]),
    "defaultdict": collections.defaultdict(list, {"k": [1]}),
    "counter": collections.Counter("hello"),
    "deque": collections.deque([1, "two", 3.0], maxlen=5),
    "namespace": types.SimpleNamespace(a=1, b=[2]),
    "array": array.array("d", [1.0, 2.5]),
    "partial": functools.partial(operator.add, 1),
    "enum": [Colour.RED, Colour.BLUE],
    "globals": [len, dict, ValueError, operator.add, datetime.datetime, collections.OrderedDict, range],
    "nested-class": Outer.Inner(1, 2),
    "point": Point(1, Point("in", None)),
    "slotted": slotted(),
    "keyword-new": KeywordNew(1, y=2),
    "list-subclass": numbers(),
    "list-subclass-long": Numbers(range(1500)),
    "dict-subclass": Named(a=1, b=[2]),
    "namedtuple": Pair(1, [2]),
    "dataclass": Record("n", ["t"], Record("p", [])),
    "exception": ValueError("bad", 42),
    "exception-state": failure(),
    "oserror": FileNotFoundError(2, "No such file", "/x"),
}


def old_name(module, name, protocol):
    """Protocols before 3 name globals as Python 2 did."""
    if protocol < 3:
        if (module, name) in _compat_pickle.REVERSE_NAME_MAPPING:
            return list(_compat_pickle.REVERSE_NAME_MAPPING[module, name])
        module = _compat_pickle.REVERSE_IMPORT_MAPPING.get(module, module)
    return [module, name]


def canon_global(obj, protocol, name=None):
    name = name or getattr(obj, "__qualname__", obj.__name__)
    module = pickle.whichmodule(obj, name)
    if protocol < 4 and "." in name:  # getattr(parent, name)
        parent, _, last = name.rpartition(".")
        holder = functools.reduce(getattr, parent.split("."), sys.modules[module])
        return canon_object([getattr, (holder, last)], protocol)
    return ["global", *old_name(module, name, protocol)]


def canon(v, protocol):
    """What a reader that runs nothing must see in a pickle of v, as JSON."""

    def all_of(vs):
        return [canon(x, protocol) for x in vs]

    t = type(v)
    if v is None:
        return ["none"]
    if t is bool:
        return ["bool", v]
    if t is int:
        return ["int", hex(v)]
    if t is float:
        return ["float", "nan" if v != v else struct.pack(">d", v).hex()]
    if t is str:
        return ["str", v.encode("utf-8", "surrogatepass").hex()]
    if t is bytes:
        if protocol >= 3:
            return ["bytes", v.hex()]
        if not v:
            return canon_object([bytes, ()], protocol)
        encode = canon_object([ord, (v.decode("latin-1"), "latin1")], protocol)
        encode[2] = ["global", "_codecs", "encode"]
        return encode
    if t is bytearray:
        if protocol >= 5:
            return ["bytearray", v.hex()]
        return canon_object([bytearray, (bytes(v),) if v else ()], protocol)
    if t is tuple:
        return ["tuple", all_of(v)]
    if t is list:
        return ["list", all_of(v)]
    if t is dict:
        return ["dict", [[canon(k, protocol), canon(x, protocol)] for k, x in v.items()]]
    if t in (set, frozenset):
        if protocol >= 4:
            return [t.__name__, sorted(all_of(v), key=json.dumps)]
        return canon_object([t, (list(v),)], protocol)
    if isinstance(v, type) or t is types.FunctionType or t is types.BuiltinFunctionType and v.__self__.__class__ is types.ModuleType:
        return canon_global(v, protocol)
    reduce = copyreg.dispatch_table.get(t)
    reduced = reduce(v) if reduce else v.__reduce_ex__(protocol)
    if isinstance(reduced, str):
        return canon_global(v, protocol, reduced)
    return canon_object(reduced, protocol)


def canon_object(reduced, protocol):
    func, args, state, items, entries = (*reduced, None, None, None)[:5]
    kwargs, new = None, False
    name = getattr(func, "__name__", "")
    if protocol >= 2 and name == "__newobj_ex__":
        func, args, kwargs = args
        if protocol >= 4:
            new = True
        else:
            func, args, kwargs = functools.partial(func.__new__, func, *args, **kwargs), (), None
    elif protocol >= 2 and name == "__newobj__":
        func, args, new = args[0], args[1:], True
    return [
        "object",
        new,
        canon(func, protocol),
        [canon(a, protocol) for a in args],
        None if kwargs is None else canon(kwargs, protocol),
        None if state is None else canon(state, protocol),
        [canon(x, protocol) for x in items or ()],
        [[canon(k, protocol), canon(x, protocol)] for k, x in entries or ()],
    ]


class Reader(pickle.Unpickler):
    def persistent_load(self, pid):
        return types.SimpleNamespace(persistent=pid)


def writers():
    def python(v, protocol):
        return pickle._dumps(v, protocol)

    def optimized(v, protocol):
        return pickletools.optimize(pickle.dumps(v, protocol))

    return {"c": pickle.dumps, "python": python, "optimized": optimized}


def values(_):
    out = []
    for name, v in VALUES.items():
        for protocol in range(6):
            for writer, dumps in writers().items():
                try:
                    data = dumps(v, protocol)
                except Exception as e:
                    # Some values have no form in protocols 0 and 1.
                    if protocol >= 2:
                        raise RuntimeError(f"{name}, protocol {protocol}") from e
                    continue
                out.append(
                    {
                        "name": f"{name}/{protocol}/{writer}",
                        "protocol": protocol,
                        "pickle": base64.b64encode(data).decode(),
                        "canon": canon(v, protocol),
                        "canon5": canon(v, 5),
                    }
                )
    return {"values": out}


class Python2Names(Reader):
    def find_class(self, module, name):
        if (module, name) in _compat_pickle.NAME_MAPPING:
            module, name = _compat_pickle.NAME_MAPPING[module, name]
        return super().find_class(_compat_pickle.IMPORT_MAPPING.get(module, module), name)


def load(question):
    data = base64.b64decode(question["pickle"])
    if not question.get("sloppy"):
        pickletools.dis(data, out=io.StringIO())  # checks stack, memo and that nothing is left
    reader = Python2Names if question.get("python2") else Reader
    return {"canon": canon(reader(io.BytesIO(data)).load(), 5)}


class Nowhere(io.TextIOBase):
    def write(self, text):
        return len(text)


def line_of_global(f):
    """Reads a line of GLOBAL or INST as CPython does. pickletools looks for escapes there, which are none."""
    return pickletools.read_stringnl(f, decode=False, stripquotes=False).decode("utf-8")


pickletools.read_stringnl_noescape = line_of_global


def well_formed(question):
    """Says what pickletools finds wrong with each of the pickles; nothing is executed."""
    verdicts = []
    for data in question["pickles"]:
        try:
            pickletools.dis(base64.b64decode(data), out=Nowhere())
            verdicts.append("")
        except Exception as e:
            verdicts.append(f"{type(e).__name__}: {e}")
    return {"verdicts": verdicts}


def encoded(data):
    return base64.b64encode(data).decode()


def cycles(_):
    """Writes values that hold themselves, and one that is nested too deeply."""
    out = {}
    a = [1]
    a.append(a)
    d = {}
    d["self"] = d
    t = ([],)
    t[0].append(t)
    p = Point(1, None)
    p.y = p
    deep = []
    for _ in range(400):
        deep = [deep]
    for name, v in {"list": a, "dict": d, "tuple": t, "object": p, "deep": deep}.items():
        for protocol in range(6):
            out[f"{name}/{protocol}"] = encoded(pickle.dumps(v, protocol))
    return out


def sharing(question):
    """Reads a pickle of a pair and says whether both are one object."""
    one, other = pickle.loads(base64.b64decode(question["pickle"]))
    return {"same": one is other}


def evaluate(question):
    """Reads a pickle that builds a class from source and uses the class."""
    cls = pickle.loads(base64.b64decode(question["pickle"]))
    return {"module": cls.__module__, "name": cls.__name__, "answer": cls().ping(20)}


def ray(_):
    """Writes what Ray would: errors, classes by value, ids of refs."""
    from ray import cloudpickle
    from ray.exceptions import ActorDiedError, RayTaskError
    from ray.util.client import client_pickler
    from ray.util.client.common import ClientActorHandle, ClientActorRef, ClientObjectRef

    cause = ValueError("boom")
    error = RayTaskError("f", "Traceback ...\nValueError: boom", cause, proctitle="ray::f", pid=42, ip="127.0.0.1")
    scale = 3

    class Local:
        """A class that travels by value, with a cycle through its closure."""

        def __init__(self, x):
            self.x = x

        def grow(self):
            return Local(self.x * scale)

    class Stub(client_pickler.ClientPickler):
        def persistent_id(self, obj):
            if isinstance(obj, Ref):
                return client_pickler.PickleStub("Object", self.client_id, obj.id, None, None)
            return super().persistent_id(obj)

    class Ref:
        def __init__(self, id):
            self.id = id

    def stubs(v):
        with io.BytesIO() as file:
            Stub("c" * 32, file).dump(v)
            return file.getvalue()

    return {
        "error": encoded(cloudpickle.dumps(error)),
        "dual": encoded(cloudpickle.dumps(error.as_instanceof_cause())),
        "died": encoded(cloudpickle.dumps(ActorDiedError(error))),
        "class": encoded(cloudpickle.dumps(Local)),
        "instance": encoded(cloudpickle.dumps(Local(2))),
        "lambda": encoded(cloudpickle.dumps(lambda x: x + scale)),
        "stubs": encoded(stubs(([Ref(b"r" * 28)], {"again": Ref(b"s" * 28), "api": client_pickler.RayAPIStub()}))),
    }


def ray_load(question):
    """Reads what Go wrote, as the Ray Client server would."""
    import ray.exceptions
    from ray.util.client.client_pickler import PickleStub

    seen = []

    class Server(pickle.Unpickler):
        def persistent_load(self, pid):
            assert isinstance(pid, PickleStub), type(pid)
            seen.append([pid.type, pid.client_id, pid.ref_id.hex(), pid.name, pid.baseline_options])
            return seen[-1]

    v = Server(io.BytesIO(base64.b64decode(question["pickle"]))).load()
    if isinstance(v, ray.exceptions.RayTaskError):
        return {
            "type": type(v).__name__,
            "cause": repr(v.cause),
            "traceback": v.traceback_str,
            "function": v.function_name,
            "pid": v.pid,
            "ip": v.ip,
        }
    return {"type": type(v).__name__, "stubs": seen}


ANSWERS = {
    "values": values,
    "load": load,
    "well-formed": well_formed,
    "cycles": cycles,
    "sharing": sharing,
    "evaluate": evaluate,
    "ray": ray,
    "ray-load": ray_load,
}


def main():
    answers = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is no answer
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = ANSWERS[question["ask"]](question)
        except Exception as e:
            answer = {"failure": f"{type(e).__name__}: {e}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


main()
