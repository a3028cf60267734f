#!/usr/bin/env bash
# Runs what depends on the version of Ray on each version that it is said to work with, each installed beside .venv in
# .cache/ray-VERSION, and prints a table: the same tests on all of them, against real heads.
# Usage: [SUITES='ray worker connector'] test_matrix.sh [VERSION ...]
set -euo pipefail
cd "$(dirname "$0")/.."

versions=("$@")
[ ${#versions[@]} -gt 0 ] || versions=(2.40.0 2.48.0 2.54.1 2.60.0)
read -r -a suites <<<"${SUITES:-ray worker connector}"

fail() {
	echo "test-matrix: $*" >&2
	exit 1
}

# The tests of a suite, which is named as its package, and those of them that are left out.
declare -A tests=(
	[ray]=.
	# On a Ray without Go actors: that they are refused.
	[worker]='^(TestOnARealRay|TestTaskEvents)$'
	[connector]='^(TestDirectCallsBeginWhenTheGCSIsReachable|TestTheVersionIsCheckedAgainWhenTheClusterChanges|TestALostSessionIsReplaced)$'
)
declare -A except=(
	# TestSoak: make soak. TestPip: the same pip is asked on each, for most of a minute. ExampleDirect_Stream: an example cannot
	# ask for the version, and streams there are on 2.60 only (TestStreams has what the others do).
	[ray]='^(TestSoak.*|TestPip|ExampleDirect_Stream)$'
)
for suite in "${suites[@]}"; do
	[ -n "${tests[$suite]:-}" ] || fail "there is no suite $suite, only ${!tests[*]}"
done

install() {
	local version=$1 venv=.cache/ray-$1
	[ -e "$venv/.complete" ] && return
	echo "test-matrix: installing Ray $version into $venv (350 MB, once)"
	.venv/bin/python -m venv --clear "$venv"
	# setuptools: Ray before 2.54 imports pkg_resources, which its later versions have not.
	"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "ray[default]==$version" "setuptools<81" ||
		fail "pip could not install ray[default]==$version"
	"$venv/bin/python" -c "import sys, ray, ray.dashboard.optional_deps; sys.exit(ray.__version__ != '$version')" ||
		fail "Ray $version is installed, but cannot be imported"
	touch "$venv/.complete"
}

TMPDIR=$(mktemp -d /tmp/scm-XXXXXX) # short, for Ray's sockets
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

echo "test-matrix: compiling"
for suite in "${suites[@]}"; do
	go test -c -o "$TMPDIR/$suite.test" "./$suite"
done

status=0
for version in "${versions[@]}"; do
	python=.venv/bin/python
	if ! .venv/bin/python -c "import sys, ray; sys.exit(ray.__version__ != '$version')" 2>/dev/null; then
		install "$version"
		python=.cache/ray-$version/bin/python
	fi
	for suite in "${suites[@]}"; do
		echo "test-matrix: Ray $version, $suite"
		(
			cd "$suite"
			SEEDCORE_TEST_PYTHON=$python go tool test2json -t -p "$suite" \
				../scripts/isolate.sh "$TMPDIR/$suite.test" -test.v=test2json -test.timeout 20m \
				-test.run "${tests[$suite]}" -test.skip "${except[$suite]:-^$}"
		) | tee "$TMPDIR/$version.$suite.json" | .venv/bin/python scripts/test_report.py --live || status=1
	done
done
.venv/bin/python scripts/matrix_table.py "$TMPDIR" "${versions[*]}" "${suites[*]}" || status=1
exit $status
