"""Regenerates internal/wire/raypb and internal/wire/corepb.

raypb comes whole from the Ray Client descriptor inside the ray wheel; the descriptor itself is committed beside the
stubs, so that a new wheel can be compared with it. corepb comes from our own core.proto, each field of which is
checked against the wheel first.

Run by `make generate`: needs ray and grpcio-tools in this Python, protoc-gen-go and protoc-gen-go-grpc on PATH.
"""

import importlib
import os
import pathlib
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2

ROOT = pathlib.Path(__file__).resolve().parent.parent
WIRE = ROOT / "internal" / "wire"
MODULE = "github.com/seedcore/seedcore/internal/wire"
PLUGINS = ("protoc-gen-go", "protoc-gen-go-grpc")


def run_plugin(plugin, files, wanted, parameter):
    request = plugin_pb2.CodeGeneratorRequest(file_to_generate=[wanted], proto_file=files, parameter=parameter)
    out = subprocess.run([plugin], input=request.SerializeToString(), stdout=subprocess.PIPE, check=True).stdout
    response = plugin_pb2.CodeGeneratorResponse.FromString(out)
    if response.error:
        sys.exit(f"{plugin}: {response.error}")
    return {f.name: f.content for f in response.file}


def ray_client_descriptor():
    module = importlib.import_module("ray.core.generated.ray_client_pb2")
    fd = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(fd)
    fd.name = "ray_client.proto"
    return fd


def ray_client():
    fd = ray_client_descriptor()
    target = WIRE / "raypb"
    (target / "ray_client.binpb").write_bytes(fd.SerializeToString(deterministic=True))
    for plugin in PLUGINS:
        extra = ",require_unimplemented_servers=false" if plugin.endswith("grpc") else ""
        files = run_plugin(plugin, [fd], fd.name, f"paths=source_relative,M{fd.name}={MODULE}/raypb;raypb{extra}")
        for name, content in files.items():
            (target / name).write_text(content)


def core():
    target = WIRE / "corepb"
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, "core.binpb")
        subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", f"-I{target}", f"--descriptor_set_out={out}",
             "--include_source_info", "core.proto"], check=True)
        fd = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out).read_bytes()).file[0]
    problems = compare(fd)
    if problems:
        sys.exit("core.proto disagrees with the wheel:\n  " + "\n  ".join(problems))
    for plugin in PLUGINS:
        files = run_plugin(plugin, [fd], fd.name, "paths=source_relative")
        for name, content in files.items():
            if name.endswith("_grpc.pb.go"):  # our messages, but Ray's service names on the wire
                content = content.replace("seedcore.wire.core.", "ray.rpc.")
            (target / name).write_text(content)


def compare(fd):
    """Every message, field and enum value of core.proto must exist in the wheel with the same number and type."""
    known_messages, known_enums = {}, {}
    for name in ("common_pb2", "core_worker_pb2", "gcs_pb2", "gcs_service_pb2", "node_manager_pb2", "profile_events_pb2"):
        descriptor = importlib.import_module("ray.core.generated." + name).DESCRIPTOR
        known_messages.update(descriptor.message_types_by_name)
        known_enums.update(descriptor.enum_types_by_name)
    problems = []

    def message(ours, theirs):
        for f in ours.field:
            g = theirs.fields_by_number.get(f.number)
            if g is None or g.name != f.name or g.type != f.type or g.is_repeated != (f.label == f.LABEL_REPEATED):
                problems.append(f"{ours.name}.{f.name} = {f.number}")
        for nested in ours.nested_type:
            if nested.name not in theirs.nested_types_by_name:
                problems.append(f"{ours.name}.{nested.name}: no such message")
            else:
                message(nested, theirs.nested_types_by_name[nested.name])
        for e in ours.enum_type:
            enum(e, theirs.enum_types_by_name.get(e.name, known_enums.get(e.name)))

    def enum(ours, theirs):
        for v in ours.value:
            if theirs is None or v.name not in theirs.values_by_name or theirs.values_by_name[v.name].number != v.number:
                problems.append(f"enum {ours.name}.{v.name} = {v.number}")

    for m in fd.message_type:
        if m.name not in known_messages:
            problems.append(f"{m.name}: no such message")
        else:
            message(m, known_messages[m.name])
    for e in fd.enum_type:
        enum(e, known_enums.get(e.name))
    return problems


if __name__ == "__main__":
    ray_client()
    core()
