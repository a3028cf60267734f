#!/usr/bin/env bash
# Regenerates internal/wire/raypb and internal/wire/corepb from the Ray in .venv. The compiler gets an environment of its
# own, .venv-gen: Ray does not need it.
set -euo pipefail
cd "$(dirname "$0")/.."

GRPCIO_TOOLS=grpcio-tools==1.85.1
PROTOC_GEN_GO=v1.36.12
PROTOC_GEN_GO_GRPC=v1.6.2

plugins=$PWD/.cache/protoc-$PROTOC_GEN_GO-$PROTOC_GEN_GO_GRPC
if [ ! -x "$plugins/protoc-gen-go-grpc" ]; then
	GOBIN=$plugins GOFLAGS= go install "google.golang.org/protobuf/cmd/protoc-gen-go@$PROTOC_GEN_GO"
	GOBIN=$plugins GOFLAGS= go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$PROTOC_GEN_GO_GRPC"
fi

stamp=.venv-gen/.seedcore-setup
if [ "$(cat $stamp 2>/dev/null)" != "$GRPCIO_TOOLS" ]; then
	.venv/bin/python -m venv --clear .venv-gen
	.venv-gen/bin/python -m pip install --disable-pip-version-check "$GRPCIO_TOOLS"
	echo "$GRPCIO_TOOLS" >$stamp
fi

site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
PATH=$plugins:$PATH PYTHONPATH=$site .venv-gen/bin/python scripts/generate.py
echo "generate: done; git diff shows what changed"
