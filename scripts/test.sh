#!/usr/bin/env bash
# Tests everything, or the packages that are named, on a real Ray that the tests start and stop themselves.
# Usage: test.sh [PACKAGE ...] [-- ARGUMENT FOR GO TEST ...]
#
# Each package is tested in a network and a process tree of its own where the kernel allows (see isolate.sh), so that
# two heads never meet. Then three packages run at a time, or JOBS. The race detector is on where there is a C compiler.
# Ends with a count, and with 0 only if every test passed.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	packages+=("$1")
	shift
done
[ $# -gt 0 ] && shift
arguments=("$@")
[ ${#packages[@]} -gt 0 ] || packages=(./...)

race=()
if [ "$(go env CGO_ENABLED)" = 1 ] && command -v "$(go env CC)" >/dev/null; then
	race=(-race)
else
	echo "test: no C compiler, so the race detector is off"
fi

echo "test: compiling"
go vet "${packages[@]}"

mapfile -t tested < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' "${packages[@]}")
if [ ${#tested[@]} -eq 0 ]; then
	echo "test: there are no tests in ${packages[*]}" >&2
	exit 1
fi
# The longest begin, so that none of them is what all wait for in the end.
mapfile -t tested < <(
	printf '%s\n' "${tested[@]}" | awk '
		BEGIN { for (n = split("e2e ray connector worker drills doctor rayhead", longest); n > 0; n--) rank[longest[n]] = n }
		{ name = $0; sub(".*/", "", name); print (name in rank ? rank[name] : 9), $0 }
	' | sort -n | cut -d " " -f 2
)

# Tests on Ray mostly wait. Without a network for each package, two heads could meet.
jobs=1
if [ "$(scripts/isolate.sh printenv SEEDCORE_ISOLATED 2>/dev/null)" = 1 ]; then
	jobs=3
fi

# Short, because unix sockets lie below it; removed whatever happens, with all that a killed test leaves there.
TMPDIR=$(mktemp -d /tmp/sct-XXXXXX)
export TMPDIR
results=$TMPDIR/results.json
trap 'rm -rf "$TMPDIR"' EXIT

export GOFLAGS="${GOFLAGS:-} -mod=readonly" GOPROXY=off
status=0
echo "test: ${#tested[@]} packages, ${JOBS:-$jobs} at a time"
go test -json -vet=off -count=1 -p "${JOBS:-$jobs}" -timeout 30m -exec "'$PWD/scripts/isolate.sh'" ${race[@]+"${race[@]}"} \
	${arguments[@]+"${arguments[@]}"} "${tested[@]}" | tee "$results" | .venv/bin/python scripts/test_report.py --live || status=1
.venv/bin/python scripts/test_report.py <"$results" || status=1
exit $status
