"""Prints what test_matrix.sh found as a table of versions and suites.

Usage: matrix_table.py DIRECTORY VERSIONS SUITES. DIRECTORY has the output of `go tool test2json` of each as
VERSION.SUITE.json. A cell counts tests with their subtests. Exits with 1 if one failed, or if a suite ran no test or did
not end.
"""

import json
import pathlib
import sys


def count(path):
    """Returns passed, failed, skipped and whether the suite ended well."""
    counts, well = {"pass": 0, "fail": 0, "skip": 0}, False
    for line in path.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        action = event.get("Action")
        if action not in counts:
            continue
        if event.get("Test"):
            counts[action] += 1
        else:
            well = action == "pass"
    return counts["pass"], counts["fail"], counts["skip"], well and counts["pass"] > 0


def main(directory, versions, suites):
    failed = False
    rows = [["Ray", *suites]]
    for version in versions:
        row = [version]
        for suite in suites:
            passed, broken, skipped, well = count(pathlib.Path(directory, f"{version}.{suite}.json"))
            cell = f"{passed} passed, {broken} failed, {skipped} skipped"
            if not well:
                failed = True
                cell += " FAIL"
            row.append(cell)
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2].split(), sys.argv[3].split()))
