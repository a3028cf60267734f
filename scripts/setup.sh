#!/usr/bin/env bash
# Makes .venv with the Ray that this project works with, and fetches the Go modules. With --tests, also what only tests
# import, in a directory of its own: Ray has no need of it, and a user's .venv none either. With --drills, also
# looks for redis-server, in which a GCS keeps its tables: one drill needs it, and nothing else does.
#
# A second run does nothing and takes no time. A run that was interrupted is repaired by the next one: the stamp is
# written last, and an environment without it is checked, and made anew if the check fails.
set -euo pipefail
cd "$(dirname "$0")/.."

RAY="ray[default]==2.60.0"
# The last numpy for every Python that Ray has wheels for.
NUMPY="numpy==2.2.6"
VENV=.venv
FOR_TESTS=$VENV/for-tests
STAMP=$VENV/.seedcore-setup

fail() {
	echo "setup: $*" >&2
	exit 1
}

command -v go >/dev/null || fail "Go is missing: install Go 1.26 or newer, https://go.dev/dl"

ready() {
	[ -x $VENV/bin/python ] && [ "$(cat $STAMP 2>/dev/null)" = "$RAY" ] && compgen -G "$VENV/lib/python3.*/site-packages/ray-${RAY##*==}.dist-info" >/dev/null
}

# Everything that ray[default] brings, by importing it.
complete() {
	[ -x $VENV/bin/python ] && $VENV/bin/python -c "
import sys, ray, ray.dashboard.optional_deps
sys.exit(ray.__version__ != '${RAY##*==}')" >/dev/null 2>&1
}

# Prints the first Python that Ray has wheels for and that can make an environment.
find_python() {
	local candidate
	for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
		if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
			if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
				echo "$candidate"
				return
			fi
			no_venv=$candidate
		fi
	done
	if [ -n "${no_venv:-}" ]; then
		fail "$no_venv cannot make environments: install its venv module (Debian, Ubuntu: apt install python3-venv)"
	fi
	fail "no usable Python 3.10 to 3.13 (tried: ${PYTHON:-python3, python3.13 to python3.10}): install one, or say PYTHON=/path/to/python"
}

install() {
	if complete; then
		echo "setup: $VENV is complete"
	else
		local python
		python=$(find_python)
		echo "setup: making $VENV with $python ($("$python" -c 'import platform; print(platform.python_version())')) and $RAY; about 250 MB, once"
		rm -f $STAMP
		"$python" -m venv --clear $VENV
		$VENV/bin/python -m pip install --disable-pip-version-check "$RAY" ||
			fail "pip could not install $RAY; its message is above. Run make setup again when the cause is gone"
		complete || fail "$RAY is installed, but cannot be imported: $VENV/bin/python -c 'import ray, ray.dashboard.optional_deps' says why"
	fi
	echo "$RAY" >$STAMP
}

if ! ready; then
	mkdir -p .cache
	exec 9>.cache/setup.lock
	if command -v flock >/dev/null; then
		flock -n 9 || {
			echo "setup: waiting for another setup to end"
			flock 9
		}
	fi
	ready || install
	exec 9>&-
fi

has_numpy() {
	[ -d "$FOR_TESTS/numpy-${NUMPY##*==}.dist-info" ]
}

if [ "${1:-}" = --tests ] && ! has_numpy; then
	mkdir -p .cache
	exec 9>.cache/setup.lock
	if command -v flock >/dev/null; then
		flock 9
	fi
	if ! has_numpy; then
		echo "setup: fetching $NUMPY for the tests; about 20 MB, once"
		rm -rf $FOR_TESTS $FOR_TESTS.part
		$VENV/bin/python -m pip install --disable-pip-version-check --no-deps --quiet --target $FOR_TESTS.part "$NUMPY" ||
			fail "pip could not install $NUMPY; its message is above. Run make test again when the cause is gone"
		mv $FOR_TESTS.part $FOR_TESTS
	fi
	exec 9>&-
fi

if [ "${1:-}" = --drills ]; then
	command -v redis-server >/dev/null ||
		echo "setup: redis-server is missing, and the drill of a GCS that comes back will fail without it (Debian, Ubuntu: apt install redis-server)" >&2
fi

go mod download || fail "the Go modules cannot be fetched; the message above says why (GOPROXY is $(go env GOPROXY))"
