#!/usr/bin/env bash
# Runs golangci-lint in the version that the Makefile names: the one on the PATH if it is that version, else one that is
# built into .cache, once.
set -euo pipefail
cd "$(dirname "$0")/.."

version=${GOLANGCI_LINT_VERSION:?is set by the Makefile}
lint=golangci-lint
if [ "$($lint version --short 2>/dev/null)" != "${version#v}" ]; then
	dir=$PWD/.cache/golangci-lint-$version
	lint=$dir/golangci-lint
	if [ ! -x "$lint" ]; then
		echo "lint: building golangci-lint $version, once"
		GOBIN=$dir GOFLAGS= go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version"
	fi
fi
"$lint" run "$@" ./...
