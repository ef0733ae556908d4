"""`tritonmoe serve` and `token`: start with nothing to configure, and say what is wrong when they cannot."""

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from reports.cli import main
from reports.service import badge, scratch
from reports.service.database import MIGRATIONS, connect, metadata, migrate
from reports.service.migrations.versions import __path__ as versions_path
from reports.service.settings import Settings, SettingsError, default_data, from_environment, to_environment

from .conftest import fresh_database


def test_it_serves_from_all_workers_what_it_was_told_on_the_command_line(tmp_path):
    server = scratch.Server(
        tmp_path, {"TRITONMOE_READ_ACCESS": "public"}, ["--workers", "2", "--read-access", "token"]
    )
    token = scratch.make_token(tmp_path, "", "read")
    for _ in range(20):
        with urllib.request.urlopen(with_token(f"{server.url}/reports", token)) as answer:
            assert json.load(answer) == {"reports": [], "next": None}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.url}/reports")
    with refused.value as answer:
        assert answer.code == 401
    with urllib.request.urlopen(with_token(f"{server.url}/metrics", token)) as answer:
        counted = answer.read().decode()
    assert 'tritonmoe_requests_total{method="GET",route="/reports",status="200"} 20.0' in counted, (
        "of both workers"
    )
    assert "tritonmoe_reports_stored 0.0" in counted
    assert server.stop() == 0
    said = (tmp_path / "log").read_text()
    assert f"serving http://localhost:{server.port} from {tmp_path}; reading needs a token" in said
    assert f"tritonmoe token add NAME --scope write --data {tmp_path}" in said
    assert token.split("_", 2)[2] not in said
    assert all(line.startswith(("tritonmoe: ", "{")) for line in said.splitlines())
    assert (tmp_path / "reports").stat().st_mode & 0o077 == 0


def with_token(url: str, token: str) -> urllib.request.Request:
    return urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})


def test_without_torch_and_without_heavy_imports_until_they_are_needed():
    code = (
        "import sys; from reports.cli import main\n"
        "try: main(['token', '--help'])\n"
        "except SystemExit: pass\n"
        "import reports.service.commands\n"
        "print([m for m in ('torch', 'fastapi', 'sqlalchemy', 'httpx2', 'cryptography') if m in sys.modules])"
    )
    root = Path(__file__).parents[3]
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def run(tmp_path, capsys):
    """Runs a command on a folder of its own. Gives its exit code, output and errors."""

    def ran(*arguments: str):
        code = main([*arguments, "--data", str(tmp_path / "data")])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return ran


def test_tokens_are_made_listed_and_revoked(run):
    code, token, err = run("token", "add", "ci", "--scope", "write", "--days", "5")
    assert code == 0
    assert token.startswith("tmoe_")
    assert "not shown again" in err
    run("token", "add", "wall")
    code, table, _ = run("token", "list")
    assert code == 0
    assert token.split("_", 2)[2] not in table
    assert [line.split()[1:3] for line in table.splitlines()] == [
        ["name", "scope"],
        ["ci", "write"],
        ["wall", "read"],
    ]
    assert run("token", "revoke", "ci")[0] == 0
    code, _, err = run("token", "revoke", "ci")
    assert code == 2
    assert "no token 'ci' to revoke" in err
    states = {
        entry["name"]: entry["state"] for entry in json.loads(run("token", "list", "--format", "json")[1])
    }
    assert states == {"ci": "revoked", "wall": "valid"}


def test_an_expired_token_is_listed_as_such(run, tmp_path):
    run("token", "add", "old")
    with sqlite3.connect(tmp_path / "data" / "service.sqlite3") as connection:
        connection.execute("UPDATE tokens SET expires = 1")
    connection.close()
    assert "expired" in run("token", "list")[1]


WRONG = {
    "a token's name": (["token", "add", "\n"], {}, "a token's name"),
    "a token's days": (["token", "add", "x", "--days", "0"], {}, "1 to 3650 days"),
    "no workers": (["serve", "--workers", "0"], {}, "expected 1 to 64"),
    "another access": (["token", "list"], {"TRITONMOE_READ_ACCESS": "all"}, "expected public or token"),
    "no number": (["token", "list"], {"TRITONMOE_MAX_BYTES": "1MB"}, "expected a whole number above 0"),
    "a rate of nothing": (["token", "list"], {"TRITONMOE_READ_RATE": "0"}, "expected a number above 0"),
    "an endless rate": (["token", "list"], {"TRITONMOE_READ_RATE": "inf"}, "expected a number above 0"),
    "no URL": (["token", "list"], {"TRITONMOE_DATABASE": "://"}, "is no URL"),
    "another database": (
        ["token", "list"],
        {"TRITONMOE_DATABASE": "mysql://x/y"},
        "expected postgresql or sqlite",
    ),
    "no database there": (
        ["token", "list"],
        {"TRITONMOE_DATABASE": "postgresql://x@127.0.0.1:1/y", "TRITONMOE_BUSY_SECONDS": "1"},
        "the database: ",
    ),
    "keys that are not there": (["serve", "--trusted-keys", "/nowhere"], {}, "there is no NAME.pub"),
    "a port beyond ports": (["serve", "--port", "70000"], {}, "cannot listen there"),
    "an address of others": (["serve", "--host", "192.0.2.1"], {}, "cannot listen there"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_one_line(run, kind, monkeypatch):
    arguments, variables, expected = WRONG[kind]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert err.startswith("tritonmoe: ")
    assert len(err.splitlines()) == 1


def test_a_port_that_is_taken_is_told(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = run("serve", "--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "Address already in use" in err


def test_a_folder_that_cannot_be_made_is_told(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["token", "list", "--data", str(tmp_path / "file" / "data")]) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_what_is_not_installed_is_told(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.delitem(sys.modules, "reports.service.database", raising=False)
    monkeypatch.delitem(sys.modules, "reports.service.tokens", raising=False)
    code, _, err = run("token", "list")
    assert code == 2
    assert "pip install 'tritonmoe[service]'" in err


def test_a_fault_in_the_code_is_not_hidden(run, monkeypatch):
    monkeypatch.setattr("reports.service.database.migrate", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("token", "list")


def test_settings_survive_the_environment(tmp_path):
    settings = Settings(
        tmp_path, "postgresql://x/y", "token", "/keys", 5, 6, 7, 8, 0.5, 9, 0.25, 10, 11.5, 12, 13.5
    )
    assert from_environment(to_environment(settings)) == settings
    assert from_environment({}) == Settings(default_data())


def test_the_folder_follows_the_desktop_convention(monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert default_data() == Path("/somewhere/tritonmoe")


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request, tmp_path) -> Settings:
    if request.param == "sqlite":
        return Settings(tmp_path)
    return Settings(tmp_path, database=fresh_database(request.getfixturevalue("postgres_url")))


def test_the_migrations_make_the_tables_that_the_code_uses(settings):
    migrate(settings)
    migrate(settings)
    assert_current(settings)


def assert_current(settings: Settings) -> None:
    engine = connect(settings)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        assert [each for each in differences if "alembic_version" not in str(each)] == []
    engine.dispose()


def test_a_migration_that_breaks_off_leaves_nothing_and_the_next_start_does_all_of_it(settings, monkeypatch):
    real = op.create_table

    def create_table(name, *columns, **options):
        if name == "parities":
            raise KeyboardInterrupt
        real(name, *columns, **options)

    monkeypatch.setattr(op, "create_table", create_table)
    with pytest.raises(KeyboardInterrupt):
        migrate(settings)
    monkeypatch.undo()
    engine = connect(settings)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()
    migrate(settings)
    assert_current(settings)


BATCH = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade():
    with op.batch_alter_table("reports") as batch:
        batch.alter_column("headline", existing_type=sa.Text(), nullable=True)
"""


def test_a_change_of_the_reports_table_takes_nothing_with_it(either, tmp_path, monkeypatch, cuda_xml):
    digest = either.stored(cuda_xml)
    assert either.get(f"/parity/{digest}/{digest}/badge").status_code == 200
    shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    (tmp_path / "migrations" / "versions" / "0002_batch.py").write_text(BATCH)
    monkeypatch.setattr("reports.service.database.MIGRATIONS", tmp_path / "migrations")
    migrate(either.settings)
    with either.service.engine.connect() as connection:
        for table, rows in (("reports", 1), ("parities", 1)):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == rows


def test_every_migration_can_be_undone(settings):
    from alembic import command
    from alembic.config import Config

    migrate(settings)
    engine = connect(settings)
    with engine.connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(versions_path[0]).parent))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert set(sa.inspect(connection).get_table_names()) <= {"alembic_version", "sqlite_sequence"}
    engine.dispose()


def test_a_database_of_a_newer_version_is_left_alone(settings):
    migrate(settings)
    engine = connect(settings)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SettingsError, match="is it newer"):
        migrate(settings)
    engine.dispose()


def test_sqlite_waits_for_the_disk_and_lets_readers_read(tmp_path):
    migrate(Settings(tmp_path))
    engine = connect(Settings(tmp_path))
    with engine.connect() as connection:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    engine.dispose()


@pytest.mark.parametrize("verdict", ["PARITY", "DIVERGENT", "INCOMPLETE"])
def test_a_badge_says_what_it_shows_and_can_be_read(verdict):
    made = badge.render("cuda", "<script>", verdict)
    assert f"{verdict}</title>" in made
    assert "<script>" not in made
    assert contrast(badge._COLOURS[verdict]) >= 4.5


def contrast(colour: str) -> float:
    """With white, as WCAG 2.2 reckons it (relative luminance)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


@pytest.mark.parametrize(("name", "advice"), [("initdb", "apt-get install postgresql")])
def test_a_test_that_needs_a_program_says_which(name, advice, monkeypatch):
    monkeypatch.setattr(scratch.shutil, "which", lambda _: None)
    monkeypatch.setattr(scratch.Path, "glob", lambda *_: iter(()))
    with pytest.raises(scratch.Missing, match=f"{name} is not installed; get it with: {advice}"):
        scratch._program(name)
