"""Fixtures: an application in this process on either database, and reports to send to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from reports.service import scratch, tokens
from reports.service.app import create
from reports.service.database import connect, migrate, reports, writing
from reports.service.settings import Settings

from ..build import Draft

NOON = 1_900_000_000_000  # milliseconds since 1970
UNLIMITED = {"read_rate": 1e6, "read_burst": 10**6, "write_rate": 1e6, "write_burst": 10**6}


class Site:
    """An application with a clock that tests set, its tokens, and a client for each."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.now = NOON
        self.settings = Settings(data=folder, **{**UNLIMITED, **settings})
        migrate(self.settings)
        engine = connect(self.settings)
        with writing(engine) as connection:
            self.tokens = {
                scope.value: tokens.make(connection, scope.value, scope, 10, self.now)
                for scope in tokens.Scope
            }
        engine.dispose()
        self.app = create(self.settings, clock=lambda: self.now)
        self.service = self.app.state.service
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def get(self, path: str, scope: str | None = None, **headers: str):
        return self.client.get(path, headers={**self.authorization(scope), **headers})

    def post(self, body: Any, scope: str | None = "write", path: str = "/reports", **headers: str):
        headers = {"Content-Type": "application/xml", **self.authorization(scope), **headers}
        return self.client.post(path, content=body, headers=headers)

    def authorization(self, scope: str | None) -> dict[str, str]:
        return {} if scope is None else {"Authorization": f"Bearer {self.tokens[scope]}"}

    def stored(self, body: bytes) -> str:
        """Uploads, and gives the digest."""
        answer = self.post(body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()["digest"]

    def files(self) -> list[Path]:
        """All that is below incoming/ and reports/."""
        store = self.service.archive.store
        return sorted(
            path for top in (store.incoming, store.reports) for path in top.rglob("*") if path.is_file()
        )


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Draft], bytes]:
    """A draft's bytes."""
    folder = tmp_path_factory.mktemp("drafts")
    return lambda draft: draft.write(folder / "draft.xml").read_bytes()


@pytest.fixture(scope="session")
def cuda_xml(written) -> bytes:
    return written(Draft("cuda"))


@pytest.fixture(scope="session")
def gfx942_xml(written) -> bytes:
    return written(Draft("gfx942"))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with scratch.postgres(durable=False) as url:
        yield url


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Sites of this test, in folders of their own."""
    sites: list[Site] = []

    def make(**settings: Any) -> Site:
        sites.append(Site(tmp_path / f"site{len(sites)}", **settings))
        sites[-1].client.__enter__()
        return sites[-1]

    yield make
    for site in sites:
        site.client.__exit__(None, None, None)


@pytest.fixture
def site(make_site) -> Site:
    """On SQLite."""
    return make_site()


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, make_site) -> Site:
    """On SQLite, and once more on an empty PostgreSQL."""
    if request.param == "sqlite":
        return make_site()
    url = request.getfixturevalue("postgres_url")
    return make_site(database=fresh_database(url))


def fresh_database(url: str) -> str:
    """The same URL, once nothing is in the database any more: cheaper than another one."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return url


@contextmanager
def emptied_after(engine: sa.Engine, *digests: str) -> Iterator[sa.Connection]:
    """In place of `writing`: somebody removes every report as soon as the transaction has ended."""
    with writing(engine, *digests) as connection:
        yield connection
    with writing(engine) as connection:
        connection.execute(reports.delete())


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """On SQLite; the same for all tests of a file."""
    site = Site(tmp_path_factory.mktemp("shared"))
    with site.client:
        yield site
