"""Options of the suite, the platform it runs on, and the report it writes."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from conformance import platforms

# Where transformers is not installed there is nothing to compare with: not collected, rather than skipped.
collect_ignore = [] if find_spec("transformers") else ["test_models.py"]
# Their tests make the emulated GPU the active one, so they run where it is the platform.
EMULATED = [Path(__file__).parent / folder / "tests" for folder in ("gfx942", "power")]
PROFILES = ("smoke", "certify", "soak")
# Properties run on all nine layers on hardware; a smoke run elsewhere takes one dtype a model, for its time.
SMOKE_LAYERS = ("mixtral-float32", "deepseek_v3-bfloat16", "qwen2_moe-float16")
ACTIVE = pytest.StashKey[tuple]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tritonmoe conformance")
    group.addoption(
        "--platform",
        default="auto",
        help=f"auto, {', '.join(platforms.EVIDENCE)} (default: hardware if there is some, else gfx942)",
    )
    group.addoption(
        "--profile",
        default="smoke",
        choices=PROFILES,
        help="a few frozen examples a case, all, or all and fresh ones",
    )
    group.addoption(
        "--case", action="append", metavar="ID", help="only this case of the matrix; may be repeated"
    )
    group.addoption("--example", metavar="JSON", help="with one --case: only this example")
    group.addoption(
        "--counts", action="store_true", help="on an emulated platform: print what was executed, counted"
    )
    group.addoption(
        "--coverage",
        metavar="FILE",
        help="write what was executed: kernel statements, launch configurations, branches of the host's code",
    )
    group.addoption(
        "--soak-examples", type=int, default=200, metavar="N", help="fresh examples a case under soak"
    )


def pytest_configure(config: pytest.Config) -> None:
    try:
        name, module = platforms.activate(config.getoption("--platform"))
    except platforms.PlatformError as error:
        raise pytest.UsageError(str(error)) from None
    if config.getoption("--coverage"):
        from conformance.power.coverage import Recorder

        file = Path(config.getoption("--coverage")).absolute()
        recorder = Recorder(file, name, module, config.getoption("--profile"))
        config.pluginmanager.register(recorder, "tritonmoe-coverage")
    if config.getoption("--counts"):
        if platforms.EVIDENCE[name] != "emulated":
            raise pytest.UsageError(f"--counts: {name} is not emulated, so nothing counts its instructions")
        config.pluginmanager.register(_Counting(module.count()), "tritonmoe-counts")
    import torch

    torch.set_num_threads(1)  # the reference's matrices are small, and xdist fills the cores
    config.stash[ACTIVE] = (name, module)
    if config.getoption("--example") and len(config.getoption("--case") or ()) != 1:
        raise pytest.UsageError("--example replays one example of one case: give exactly one --case with it")
    path = config.option.xmlpath
    if path and not hasattr(config, "workerinput"):
        from conformance.environment import suite_properties
        from conformance.junit import ReportWriter

        config.option.xmlpath = None  # pytest's own writer stays off
        writer = ReportWriter(
            Path(path).absolute(), lambda: suite_properties(name, module, config.getoption("--profile"))
        )
        config.pluginmanager.register(writer, "tritonmoe-report")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    emulated = any(collection_path.is_relative_to(each) for each in EMULATED)
    return True if emulated and config.stash[ACTIVE][0] != "gfx942" else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        from conformance.matrix import CASES, case_of

        wanted = metafunc.config.getoption("--case")
        try:
            cases = [case_of(case_id) for case_id in wanted] if wanted else list(CASES)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from None
        metafunc.parametrize("case", cases, ids=[case.id for case in cases])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """--case means the matrix alone; what needs a GPU's own features is not collected elsewhere."""
    name, _ = config.stash[ACTIVE]
    hardware = platforms.EVIDENCE[name] == "hardware"
    only_matrix = bool(config.getoption("--case"))
    sample = not hardware and config.getoption("--profile") == "smoke"

    def unwanted(item: pytest.Item) -> bool:
        if only_matrix and not item.nodeid.split("::")[0].endswith("test_matrix.py"):
            return True
        if sample and "layer" in item.fixturenames and not any(each in item.name for each in SMOKE_LAYERS):
            return True
        return bool(item.get_closest_marker("hardware")) and not hardware

    dropped = [item for item in items if unwanted(item)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in set(dropped)]
    if hasattr(config, "workerinput"):
        # xdist hands out runs of neighbours: without this one worker gets all the slow layers.
        items.sort(key=lambda item: hashlib.sha256(item.nodeid.encode()).digest())


class _Counting:
    """Prints the counts of this process, or of all of xdist's workers."""

    def __init__(self, counts) -> None:
        self.counts = counts

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["counts"] = self.counts.to_json()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node) -> None:
        if "counts" in getattr(node, "workeroutput", {}):
            self.counts.add(node.workeroutput["counts"])

    def pytest_terminal_summary(self, terminalreporter) -> None:
        terminalreporter.section("counts")
        terminalreporter.write_line(str(self.counts))


def pytest_report_header(config: pytest.Config) -> str:
    name, module = config.stash[ACTIVE]
    description = module.describe()
    return (
        f"platform: {name} ({platforms.EVIDENCE[name]}), {description.name} {description.arch}, "
        f"{description.driver}; "
        f"profile {config.getoption('--profile')}"
    )


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    from conformance.junit import CASE

    def cases(outcome: str) -> list[dict]:
        reports = [dict(getattr(r, "user_properties", ())) for r in terminalreporter.stats.get(outcome, [])]
        return [properties for properties in reports if CASE in properties]

    passed, failed = cases("passed"), cases("failed")
    if passed or failed:
        worst = max((float(p["error.worst"]) for p in passed), default=0.0)
        examples = sum(int(p["examples"]) for p in passed)
        name, _ = config.stash[ACTIVE]
        terminalreporter.write_line(
            f"matrix: {len(passed)} of {len(passed) + len(failed)} cases passed on {name} "
            f"({platforms.EVIDENCE[name]}), {examples} examples, worst error {worst:.3f} of its bound"
        )


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest):
    """The torch.device that kernels run on."""
    import torch

    return torch.device(request.config.stash[ACTIVE][1].DEVICE)


@pytest.fixture(scope="session")
def platform(request: pytest.FixtureRequest) -> str:
    return request.config.stash[ACTIVE][0]


@pytest.fixture(scope="session")
def profile(request: pytest.FixtureRequest) -> str:
    return request.config.getoption("--profile")
