"""Delimited messages compared with the protobuf package, and read from prometheus-node-exporter."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from framestream import PayloadError, iter_frames
from framestream_protobuf import Protobuf

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1", reason="real programs run only with FRAMESTREAM_REAL_PEERS=1"
    ),
]

MISSING = "protobuf is not installed, see plugins/install_peers.sh"
struct_pb2: Any = pytest.importorskip("google.protobuf.struct_pb2", reason=MISSING)
descriptor_pb2: Any = pytest.importorskip("google.protobuf.descriptor_pb2", reason=MISSING)
proto: Any = pytest.importorskip("google.protobuf.proto", reason=f"{MISSING}: version 5.28 at least")

TIMEOUT = 20


def structs(count: int) -> list[Any]:
    rng = random.Random(9)
    messages = []
    for _ in range(count):
        message = struct_pb2.Struct()
        for name in range(rng.choice((0, 1, 5, 200))):
            message[f"name{name}"] = rng.choice((None, True, 1.5, "text" * rng.randint(0, 100), [1, "two", {}]))
        messages.append(message)
    return messages


def test_protobuf_reads_what_we_write() -> None:
    messages = structs(300)
    framer = Protobuf(struct_pb2.Struct)
    pieces: list[Any] = [framer.encode(message) for message in messages]
    file = io.BytesIO(b"".join(map(b"".join, pieces)))
    assert [proto.parse_length_prefixed(struct_pb2.Struct, file) for _ in messages] == messages
    assert proto.parse_length_prefixed(struct_pb2.Struct, file) is None


@pytest.mark.parametrize("chunk", [1, 7, 65536])
def test_we_read_what_protobuf_writes(chunk: int) -> None:
    messages = structs(100)
    file = io.BytesIO()
    for message in messages:
        proto.serialize_length_prefixed(message, file)
    wire = file.getvalue()
    chunks = [wire[at : at + chunk] for at in range(0, len(wire), chunk)]
    assert list(iter_frames(chunks, Protobuf(struct_pb2.Struct))) == messages


def test_what_protobuf_refuses_costs_one_message() -> None:
    bad: list[PayloadError] = []
    wire = b"\x03\x0a\x05a\x00"
    assert list(iter_frames(wire, Protobuf(struct_pb2.Struct), on_payload_error=bad.append)) == [struct_pb2.Struct()]
    assert bad[0].reason.startswith("no Struct: ")


# io.prometheus.client, as far as it is looked at here: number, name, type, class.
STRING, DOUBLE, ENUM_AS_INT32, MESSAGE = 9, 1, 5, 11
SCHEMA = {
    "LabelPair": [(1, "name", STRING, ""), (2, "value", STRING, "")],
    "Value": [(1, "value", DOUBLE, "")],
    "Metric": [(1, "label", MESSAGE, "LabelPair"), (2, "gauge", MESSAGE, "Value"), (3, "counter", MESSAGE, "Value")],
    "MetricFamily": [
        (1, "name", STRING, ""),
        (2, "help", STRING, ""),
        (3, "type", ENUM_AS_INT32, ""),
        (4, "metric", MESSAGE, "Metric"),
    ],
}
REPEATED = {"label", "metric"}


def metric_family() -> Any:
    """Return the class MetricFamily, without generated code."""
    pool = pytest.importorskip("google.protobuf.descriptor_pool", reason=MISSING).DescriptorPool()
    factory = pytest.importorskip("google.protobuf.message_factory", reason=MISSING)
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="test")
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, field, kind, of in fields:
            label = 3 if field in REPEATED else 1
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if of:
                added.type_name = f".test.{of}"
    pool.Add(file)
    return factory.GetMessageClass(pool.FindMessageTypeByName("test.MetricFamily"))


@pytest.fixture
def exporter() -> Iterator[str]:
    """Run a prometheus-node-exporter; yield its address."""
    program = shutil.which("prometheus-node-exporter")
    if program is None:
        pytest.skip("prometheus-node-exporter is not installed, see plugins/install_peers.sh")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen([program, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(500):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/metrics"
    finally:
        process.terminate()
        process.wait(TIMEOUT)


def test_the_metrics_of_node_exporter(exporter: str) -> None:
    accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    request = urllib.request.Request(exporter, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        assert answer.headers["Content-Type"].startswith("application/vnd.google.protobuf")
        families = list(iter_frames(answer, Protobuf(metric_family())))
    with urllib.request.urlopen(exporter, timeout=TIMEOUT) as answer:
        text = answer.read().decode()
    # The same exporter writes the same families as text.
    assert {family.name for family in families} == set(re.findall(r"# TYPE (\S+)", text))
    assert len(families) > 100
    assert all(family.metric for family in families)
    [cores] = [family for family in families if family.name == "node_cpu_seconds_total"]
    assert {"cpu", "mode"} == {pair.name for metric in cores.metric for pair in metric.label}
