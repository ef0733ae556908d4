"""The application: `create` puts the parts of one worker together."""

import gc
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import sqlalchemy as sa
from anyio import to_thread
from fastapi import Depends, FastAPI, Request, Response

from ..model import ReportError
from . import certificate_routes, parity_routes, report_routes
from .access import TOKEN, May
from .archive import Archive, Clock, Damaged, system_clock
from .certificates import Certificates, load_keys
from .database import THREADS, connect, reading
from .limits import Limiter
from .limits import create as create_limits
from .metrics import CONTENT_TYPE, Metrics
from .observe import Observed, log, log_uvicorn
from .parities import Busy, Parities, Unknown
from .problems import Problem, busy, install, responses
from .recent import Recent
from .settings import Settings, from_environment
from .shapes import Health
from .state import Service, service_of
from .store import Store
from .tokens import Scope

READ_AT_ONCE = 4  # uploads that are parsed or wait for the disk: what memory they take is bounded
SWITCH_SECONDS = 0.002
_DESCRIPTION = """\
Keeps the conformance suite's reports and answers with verdicts on them.

A report is named by the SHA-256 of its bytes. Errors are problem details (RFC 9457). Lists are in pages: give
the `next` of one as `before` of the following. To change anything a token is needed, made with
`tritonmoe token add`.
"""


def create(settings: Settings | None = None, clock: Clock = system_clock) -> FastAPI:
    """The application, by default with the settings in the environment. The database has been migrated, as
    `tritonmoe serve` does. Raises SettingsError.
    """
    settings = settings or from_environment()
    service = _service(settings, clock)
    log_uvicorn()
    app = FastAPI(
        title="TritonMoE reports",
        version="1",
        description=_DESCRIPTION,
        docs_url=None,  # both load scripts from elsewhere
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # who asks for it gets /metrics
        lifespan=_lifespan,
    )
    app.state.service = service
    app.state.arriving = 0  # uploads; only ever changed in the event loop
    app.state.recent = Recent()
    app.state.reading = anyio.CapacityLimiter(READ_AT_ONCE)
    app.add_middleware(Observed, metrics=service.metrics, private=settings.read_access == "token")
    install(app, _PROBLEMS)
    for routes in (report_routes, parity_routes, certificate_routes):
        app.include_router(routes.router)
    app.add_api_route(
        "/healthz",
        healthz,
        response_model=Health,
        tags=["service"],
        summary="Whether the service can answer",
        responses=responses(503),
    )
    app.add_api_route(
        "/metrics",
        metrics,
        dependencies=[Depends(May(Scope.READ))],
        response_class=Response,
        tags=["service"],
        summary="Counters, for Prometheus",
        responses={200: {"content": {"text/plain": {}}}} | responses(401, 429, 503),
    )
    _describe_access(app, public=settings.read_access == "public")
    return app


def _describe_access(app: FastAPI, public: bool) -> None:
    """In the description: what needs a token, and for what one may be given."""
    document = app.openapi()
    document["components"]["securitySchemes"] = {"token": TOKEN}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path != "/healthz":
                operation["security"] = [{"token": []}, *([{}] if public and method == "get" else [])]


def healthz(request: Request) -> Health:
    """Asks the database. Needs no token."""
    with reading(service_of(request).engine) as connection:
        connection.execute(sa.select(1))
    return Health()


def metrics(request: Request) -> Response:
    service = service_of(request)
    return Response(service.metrics.exposition(service.archive.size), media_type=CONTENT_TYPE)


def _service(settings: Settings, clock: Clock) -> Service:
    engine = connect(settings)
    archive = Archive(engine, Store(settings.data), clock, settings.max_reports)
    table = settings.data / "limits"
    if not table.exists():
        create_limits(table)
    return Service(
        settings=settings,
        engine=engine,
        archive=archive,
        parities=Parities(archive, settings.max_parities, settings.busy_seconds),
        certificates=Certificates(archive, load_keys(settings.trusted_keys), settings.max_certificates),
        limiter=Limiter(table),
        metrics=Metrics(),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    sys.setswitchinterval(SWITCH_SECONDS)
    # What is here now stays. A report is 100,000 objects without a cycle: looking for one takes a third of
    # the time.
    gc.freeze()
    gc.set_threshold(200_000, 10, 10)
    yield
    app.state.service.limiter.close()
    app.state.service.engine.dispose()


def _damaged(request: Request, error: Exception) -> Problem:
    log("error", event="damaged", id=request.scope["state"]["request_id"], failure=str(error))
    return Problem(500, "a stored report is damaged; who runs this should run: tritonmoe serve --check")


# What the parts raise, as the problem that the client is told of.
_PROBLEMS: dict[type[Exception], Callable[[Request, Exception], Problem]] = {
    ReportError: lambda _, error: Problem(422, str(error)),
    Unknown: lambda _, error: report_routes.missing(str(error)),
    Busy: lambda *_: busy("too many verdicts are being computed; come back"),
    Damaged: _damaged,
}
