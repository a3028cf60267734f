#!/usr/bin/env bash
# Tests what depends on the version of Ray on each version that it is said to work with, each installed beside .venv in
# .cache/ray-VERSION. The last one has no Go actors: there the refusal is tested.
# Usage: test_matrix.sh [VERSION ...]
set -euo pipefail
cd "$(dirname "$0")/.."

versions=("$@")
[ ${#versions[@]} -gt 0 ] || versions=(2.60.0 2.54.1 2.48.0 2.40.0)

fail() {
	echo "test-matrix: $*" >&2
	exit 1
}

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

status=0
for version in "${versions[@]}"; do
	python=.venv/bin/python
	if ! .venv/bin/python -c "import sys, ray; sys.exit(ray.__version__ != '$version')" 2>/dev/null; then
		install "$version"
		python=.cache/ray-$version/bin/python
	fi
	echo "test-matrix: Ray $version"
	SEEDCORE_TEST_PYTHON=$python go test -count=1 -timeout 20m -exec "'$PWD/scripts/isolate.sh'" \
		-run '^TestOnARealRay$' ./worker || status=1
done
exit $status
