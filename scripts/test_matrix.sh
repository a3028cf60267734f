#!/usr/bin/env bash
# Runs what depends on the version of Ray on each version that it is said to work with, each installed beside .venv in
# .cache/ray-VERSION, and prints a table: the same tests on all of them, against real heads.
# Usage: [SUITES='session direct worker connector'] test_matrix.sh [VERSION ...]
set -euo pipefail
cd "$(dirname "$0")/.."

versions=("$@")
[ ${#versions[@]} -gt 0 ] || versions=(2.40.0 2.48.0 2.54.1 2.60.0)
read -r -a suites <<<"${SUITES:-session direct worker connector}"

fail() {
	echo "test-matrix: $*" >&2
	exit 1
}

# The package and the tests of a suite.
declare -A package=([session]=ray [direct]=ray [worker]=worker [connector]=connector)
declare -A tests=(
	# What one can do in a session, that one is resumed, and what is kept for how long. The faults that Ray before 2.60 does not survive are left out.
	[session]='^(TestOneSession|TestSessionSaysWhereItIs|TestNamedActors|TestCancelledRequestsLeaveNothingBehind|TestSubmitWithOptions|TestActorEndsWithItsLastHandle|TestRefsAreReleasedAtTheServer|TestPackagesAreThereWhenTheyAreNeeded|TestAProgramThatEndsWithoutClose|TestIdleSessionIsResumed|TestDeathOfTheSessionsProcess)$'
	# The matrix of fatal inputs first of all.
	[direct]='^(TestNothingThatCanBeCalledKillsAnActor|TestRequestsAreHarmless|TestDirect.*|TestAGivenUpCallDoesNotHoldUpOthers|TestADeadActorIsToldAndARestartedOneIsFound|TestGCSTellsWhatIsThere|TestAReplacedClusterIsNoticed|TestClientChoosesThePathBeforeSending)$'
	# On a Ray without Go actors: that they are refused.
	[worker]='^(TestOnARealRay|TestTaskEvents)$'
	[connector]='^(TestDirectCallsBeginWhenTheGCSIsReachable|TestTheVersionIsCheckedAgainWhenTheClusterChanges|TestALostSessionIsReplaced)$'
)
for suite in "${suites[@]}"; do
	[ -n "${package[$suite]:-}" ] || fail "there is no suite $suite, only ${!package[*]}"
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
	[ -e "$TMPDIR/${package[$suite]}.test" ] || go test -c -o "$TMPDIR/${package[$suite]}.test" "./${package[$suite]}"
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
		name=${package[$suite]}
		(
			cd "$name"
			SEEDCORE_TEST_PYTHON=$python go tool test2json -t -p "$name" \
				../scripts/isolate.sh "$TMPDIR/$name.test" -test.v=test2json -test.timeout 15m -test.run "${tests[$suite]}"
		) | tee "$TMPDIR/$version.$suite.json" | .venv/bin/python scripts/test_report.py --live || status=1
	done
done
.venv/bin/python scripts/matrix_table.py "$TMPDIR" "${versions[*]}" "${suites[*]}" || status=1
exit $status
