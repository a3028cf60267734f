#!/usr/bin/env bash
# Tests everything, or the packages that are named, on a real Ray that the tests start and stop themselves.
# Usage: test.sh [PACKAGE ...] [-- ARGUMENT FOR GO TEST ...]
#
# Each package is tested in a network and a process tree of its own where the kernel allows (see isolate.sh), so that
# two heads never meet. Packages that need Ray run one after another, or JOBS at a time. The race detector is on where
# there is a C compiler. Ends with a count, and with 0 only if every test passed.
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

# A package needs Ray if its tests import the fixture or the head themselves.
listing=$(go list -f '{{$p := .ImportPath}}{{if or .TestGoFiles .XTestGoFiles}}{{$p}}{{range .TestImports}} {{.}}{{end}}{{range .XTestImports}} {{.}}{{end}}{{end}}' "${packages[@]}")
mapfile -t on_ray < <(awk '/internal\/(raytest|rayhead)( |$)/ { print $1 }' <<<"$listing")
mapfile -t pure < <(awk 'NF && !/internal\/(raytest|rayhead)( |$)/ { print $1 }' <<<"$listing")

# Short, because unix sockets lie below it; removed whatever happens, with all that a killed test leaves there.
TMPDIR=$(mktemp -d /tmp/sct-XXXXXX)
export TMPDIR
results=$TMPDIR/results.json
trap 'rm -rf "$TMPDIR"' EXIT

export GOFLAGS="${GOFLAGS:-} -mod=readonly" GOPROXY=off
status=0
run() {
	local what=$1
	shift
	echo "test: $what"
	go test -json -count=1 -exec "'$PWD/scripts/isolate.sh'" ${race[@]+"${race[@]}"} "$@" | tee -a "$results" | .venv/bin/python scripts/test_report.py --live || status=1
}
if [ ${#pure[@]} -gt 0 ]; then
	run "${#pure[@]} packages without Ray" -timeout 10m ${arguments[@]+"${arguments[@]}"} "${pure[@]}"
fi
if [ ${#on_ray[@]} -gt 0 ]; then
	run "${#on_ray[@]} packages on Ray" -p "${JOBS:-1}" -timeout 20m ${arguments[@]+"${arguments[@]}"} "${on_ray[@]}"
fi
.venv/bin/python scripts/test_report.py <"$results" || status=1
exit $status
