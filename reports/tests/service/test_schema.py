"""The service answers as its OpenAPI description says, whatever is sent, and never with a server error."""

import subprocess
import sysconfig
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from reports.service import scratch

from .conftest import Site

# What makes a body a report, or a certificate of reports that are here, no schema can say.
NOT_SAID = [positive_data_acceptance]
TAKE_NOTHING = {"GET /healthz", "GET /metrics"}  # so nothing that they take can be wrong
QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory, cuda_xml, gfx942_xml):
    """A site with two reports in it."""
    site = Site(tmp_path_factory.mktemp("described"))
    with site.client:
        for body in (cuda_xml, gfx942_xml):
            site.stored(body)
        yield site


def already_running(app):
    """The application, for a client that would start and stop it around every call."""

    async def running(scope, receive, send):
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
        else:
            await app(scope, receive, send)

    return running


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
def test_every_operation_answers_as_described(described, mode):
    schema = schemathesis.openapi.from_asgi("/openapi.json", already_running(described.app))
    labels = []
    for operation in (result.ok() for result in schema.get_all_operations()):
        if mode is GenerationMode.NEGATIVE and operation.label in TAKE_NOTHING:
            continue

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=4, deadline=None, suppress_health_check=QUIET, derandomize=True, database=None)
        def answers(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=described.authorization("admin"), excluded_checks=NOT_SAID)

        answers()
        labels.append(operation.label)
    assert len(labels) >= 10


@pytest.mark.slow
def test_every_operation_answers_as_described_however_long_one_tries(tmp_path, cuda_xml, gfx942_xml):
    """All that schemathesis knows, over HTTP: boundaries, fuzzing, and sequences of operations."""
    environment = {
        "TRITONMOE_READ_RATE": "1e6",
        "TRITONMOE_WRITE_RATE": "1e6",
        "TRITONMOE_READ_BURST": "1000000",
    }
    environment["TRITONMOE_WRITE_BURST"] = "1000000"
    token = scratch.make_token(tmp_path, "", "admin")
    server = scratch.Server(tmp_path, environment)
    program = Path(sysconfig.get_path("scripts")) / "schemathesis"
    command = [program, "run", f"{server.url}/openapi.json", "-H", f"Authorization: Bearer {token}"]
    try:
        run = subprocess.run(
            [*command, "--max-examples", "300", "--no-color", "--exclude-checks", "positive_data_acceptance"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
    finally:
        assert server.stop() == 0
    assert run.returncode == 0, run.stdout[-8000:]
    assert '"status": 500' not in (tmp_path / "log").read_text()


def test_the_description_says_what_every_part_is_for(described):
    document = described.get("/openapi.json").json()
    assert document["info"]["description"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["tags"], (method, path)
            assert any(status in operation["responses"] for status in ("200", "201", "204")), (method, path)
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
