#!/usr/bin/env bash
# Runs the tests whose names begin with TestSoak, which other runs skip, and writes what they found to bench/soak.md, where
# the lines of tests that did not run stay.
# Such a test asks for SEEDCORE_SOAK (a share of its full length, 1 by default) and prints lines "soak: | test | text |".
# The test of more than 2 GiB wants about 16 GiB of memory, and 5 GiB of /dev/shm for the object store.
# Usage: [SHARE=0.05] [RUN=TestSoakKills] soak.sh [PACKAGE ...]
set -euo pipefail
cd "$(dirname "$0")/.."

export SEEDCORE_SOAK=${SHARE:-1} GOFLAGS="${GOFLAGS:-} -mod=readonly" GOPROXY=off
[ $# -gt 0 ] || set -- ./ray ./worker
TMPDIR=$(mktemp -d /tmp/sck-XXXXXX)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

status=0
CGO_ENABLED=0 go test -count=1 -v -p 1 -timeout 90m -run "${RUN:-^TestSoak}" -exec "'$PWD/scripts/isolate.sh'" "$@" | tee "$TMPDIR/log" || status=1

run="$(date -u +%F), $(nproc) CPUs, share $SEEDCORE_SOAK"
# The log twice: a test that failed writes no line, and costs the others none of theirs.
awk -F ' [|] ' -v run="$run" '
	NR == FNR { if (split($0, word, " ") > 2 && word[1] == "---" && word[2] == "PASS:") passed[word[3]] = 1; next }
	/^ *soak: [|]/ && passed[$2] { print "| " $2 " | " run " | " $3 }
' "$TMPDIR/log" "$TMPDIR/log" >"$TMPDIR/new"
if [ -s "$TMPDIR/new" ]; then
	grep -s '^| Test' bench/soak.md >"$TMPDIR/old" || true
	{
		echo "# Soak"
		echo
		echo "Written by make soak. The share is that of the test's full length."
		echo
		echo "| test | run | found |"
		echo "|--- |--- |--- |"
		# Each test's newest line, in a fixed order.
		cat "$TMPDIR/new" "$TMPDIR/old" | awk -F ' [|] ' '!seen[$1]++' | sort
	} >"$TMPDIR/soak.md"
	cp "$TMPDIR/soak.md" bench/soak.md
fi
exit $status
