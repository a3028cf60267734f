"""Reads `go test -json` from standard input.

With --live, prints a line for each package as it ends and, as they fail, what the failed tests printed. Without it,
prints the slowest tests, the names of those that failed or were skipped, and the count. Exits with 1 if a test or a
package failed, or if no test ran at all.
"""

import json
import sys

SLOWEST = 10


def events():
    for line in sys.stdin:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict):
            yield event
        else:
            yield {"Action": "stray", "Output": line}


def live():
    output = {}
    failed = False
    for event in events():
        action, package, test = event.get("Action"), event.get("Package", ""), event.get("Test", "")
        key = (package, test)
        if action in ("stray", "build-output"):
            print(event.get("Output", ""), end="", flush=True)
        elif action == "output":
            output.setdefault(key, []).append(event["Output"])
        elif action in ("pass", "fail", "skip"):
            if action == "fail":
                failed = True
                print("".join(output.get(key, [])), end="")
            elif action == "skip" and test:
                print("".join(output.get(key, [])), end="")
            if not test:
                print(f"{ {'pass': 'ok', 'fail': 'FAIL', 'skip': '?'}[action]:5}{package} {event.get('Elapsed', 0):.1f}s", flush=True)
            output.pop(key, None)
    return failed


def total():
    tests, packages = {"pass": [], "fail": [], "skip": []}, []
    for event in events():
        action = event.get("Action")
        if action not in tests:
            continue
        name = event.get("Package", "") + " " + event.get("Test", "")
        if event.get("Test"):
            tests[action].append((event.get("Elapsed", 0), name))
        elif action == "fail":
            packages.append(name)
    print("\nslowest:")
    for elapsed, name in sorted(tests["pass"] + tests["fail"], reverse=True)[:SLOWEST]:
        print(f"  {elapsed:6.1f}s {name}")
    for title, names in (("skipped", tests["skip"]), ("failed", tests["fail"])):
        if names:
            print(title + ":")
            for _, name in names:
                print("  " + name)
    if packages:
        print("packages that failed:")
        for name in packages:
            print("  " + name)
    passed, failed, skipped = (len(tests[action]) for action in ("pass", "fail", "skip"))
    if packages and not failed:
        failed = len(packages)  # it did not build, or died outside a test
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return failed > 0 or passed == 0


if __name__ == "__main__":
    sys.exit(live() if sys.argv[1:] == ["--live"] else total())
