"""What the routes work with."""

from dataclasses import dataclass

from fastapi import Request
from sqlalchemy.engine import Engine

from .archive import Archive
from .certificates import Certificates
from .limits import Limiter
from .metrics import Metrics
from .parities import Parities
from .settings import Settings


@dataclass(frozen=True)
class Service:
    """One worker's parts."""

    settings: Settings
    engine: Engine
    archive: Archive
    parities: Parities
    certificates: Certificates
    limiter: Limiter
    metrics: Metrics


def service_of(request: Request) -> Service:
    return request.app.state.service
