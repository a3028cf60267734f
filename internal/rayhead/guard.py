"""Keeps a Ray head, and every process below it, from outliving the program that asked for it.

Usage: guard.py DIR REMOVE GRACE_SECONDS COMMAND [ARG ...]

Runs COMMAND and ends the whole tree below itself when COMMAND ends, when standard input says "T" or reaches its end
(the owner is gone), or on SIGTERM, SIGINT or SIGHUP: SIGTERM first, SIGKILL after the grace. "K" on standard input
means SIGKILL at once. DIR is removed at the end if REMOVE is 1. Exits with 0 if it was asked to end.

Being a subreaper it inherits whatever daemonizes below it, so that the tree is complete. Should this process itself be
killed, the kernel kills COMMAND, and most of Ray's processes share its fate at once; the owner kills the others.
"""

import ctypes
import os
import select
import shutil
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LIBC = ctypes.CDLL(None, use_errno=True)


def prctl(option, value):
    if LIBC.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        sys.exit(f"guard: prctl({option}): {os.strerror(ctypes.get_errno())}")


class Guard:
    def __init__(self):
        self.stop = False  # asked to end
        self.hard = False  # asked to end at once
        self.stdin_open = True
        self.child = 0
        self.status = None  # of the child, once it ended
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.wake, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.on_signal)

    def on_signal(self, *_):
        self.stop = True

    def spawn(self, command):
        self.child = os.fork()
        if self.child:
            return
        try:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.execv(command[0], command)
        except OSError as err:
            os.write(2, f"guard: cannot run {command[0]}: {err}\n".encode())
        finally:
            os._exit(127)

    def wait(self, seconds):
        """Until something happens, at most that long (None: no limit)."""
        watched = [self.wake] + ([0] if self.stdin_open else [])
        ready, _, _ = select.select(watched, [], [], seconds)
        if self.wake in ready:
            os.read(self.wake, 4096)
        if 0 in ready:
            word = os.read(0, 16)
            self.stop = True
            self.hard = self.hard or b"K" in word
            self.stdin_open = bool(word)
        self.reap()

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self.status = os.waitstatus_to_exitcode(status)

    def end(self, grace):
        """Until no process is left below this one."""
        deadline = time.monotonic() + grace
        asked = set()
        while True:
            self.reap()
            pids = descendants()
            if not pids:
                return
            hard = self.hard or time.monotonic() >= deadline
            for pid in pids:
                if hard or pid not in asked:
                    asked.add(pid)
                    send(pid, signal.SIGKILL if hard else signal.SIGTERM)
            self.wait(0.05)


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def descendants():
    """The pids below this process, zombies included: a zombie may be a process whose first thread alone has ended."""
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                stat = file.read()
        except OSError:
            continue
        children.setdefault(int(stat[stat.rindex(b")") + 2 :].split()[1]), []).append(int(entry))
    found = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def main():
    directory, remove, grace, command = sys.argv[1], sys.argv[2] == "1", float(sys.argv[3]), sys.argv[4:]
    guard = Guard()
    guard.spawn(command)
    while not guard.stop and guard.status is None:
        guard.wait(None)
    asked = guard.stop
    if not asked:
        try:
            os.write(2, f"guard: {command[0]} ended by itself with status {guard.status}\n".encode())
        except OSError:
            pass  # nobody reads any more
    guard.end(grace)
    if remove:
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(0 if asked else 1)


if __name__ == "__main__":
    main()
