"""Makes of the list of platforms what a CI needs: GitHub's matrix, GitLab's pipeline, variables of bash."""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platforms
from platforms import PROFILES, ListError, Platform, Platforms

EPILOG = """\
outputs:
  check    nothing; exit 2 with a line that names the entry, the field and what was expected
  ids      the platforms of a run, one a line
  shell    one entry (give --only ID) as variables of bash, to be evaluated
  github   lines for $GITHUB_OUTPUT: matrix (JSON), expect (ids), records (files), left-out
  gitlab   a child pipeline (JSON, which is YAML)

examples:
  python3 ci/matrix.py check
  python3 ci/matrix.py ids --profile smoke
  python3 ci/matrix.py github --profile certify --only rocm --recorded cuda >> "$GITHUB_OUTPUT"
  eval "$(python3 ci/matrix.py shell --only rocm)"
"""


@dataclass(frozen=True)
class Plan:
    """One run: the platforms that execute, those whose record stands in, and those left out, with reasons."""

    profile: str
    live: tuple[Platform, ...]
    recorded: tuple[Platform, ...]
    left_out: tuple[str, ...]

    @property
    def expect(self) -> str:
        """What the comparison demands, as `tritonmoe fan-in --expect` takes it."""
        return ",".join(entry.id for entry in (*self.recorded, *self.live))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what `argv` asks for. Returns 0, or 2 after one line about what is wrong."""
    arguments = _parser().parse_args(argv)
    try:
        listed = platforms.read(arguments.list)
        if arguments.output == "check":
            return 0
        only, recorded = _ids(arguments.only), _ids(arguments.recorded)
        if arguments.output == "shell":
            if len(only) != 1:
                raise ListError("shell: expected exactly one platform, as in --only cuda")
            print(shell(listed.get(only[0])))
            return 0
        made = plan(listed, arguments.profile, only, recorded, untrusted=arguments.untrusted)
        if arguments.output == "ids":
            print("\n".join(entry.id for entry in (*made.recorded, *made.live)))
        elif arguments.output == "github":
            print(github(made))
        else:
            print(json.dumps(gitlab(made, listed), indent=2))
    except ListError as error:
        print(f"ci/matrix.py: {error}", file=sys.stderr)
        return 2
    return 0


def plan(
    listed: Platforms,
    profile: str,
    only: Sequence[str] = (),
    recorded: Sequence[str] = (),
    *,
    untrusted: bool = False,
) -> Plan:
    """Who runs: `only`, or what the list requires of the profile. For `recorded` their record stands in.

    `untrusted` (a change by a stranger) leaves out every platform whose runner is not a hosted one. Raises
    ListError where fewer than two sides would be left, for then there is nothing to compare.
    """
    chosen = tuple(map(listed.get, only)) or listed.required(profile)
    twice = sorted({entry.id for entry in chosen if chosen.count(entry) > 1})
    if twice:
        raise ListError(f"platform {', '.join(twice)} is asked for twice; expected each id once")
    stand_in = []
    for platform_id in recorded:
        entry = listed.get(platform_id)
        if not entry.record:
            raise ListError(
                f"platform {platform_id} has no record that could stand in; add `record` to its entry"
            )
        if profile != "certify":
            raise ListError(f"a record is of profile certify, and this run of {profile}: not comparable")
        stand_in.append(entry)
    live = tuple(entry for entry in chosen if entry not in stand_in)
    left_out = tuple(
        f"{entry.id}: its runner is not a hosted one, and this change is a stranger's"
        for entry in live
        if untrusted and not entry.hosted
    )
    live = tuple(entry for entry in live if not untrusted or entry.hosted)
    if not live or len(live) + len(stand_in) < 2:
        names = ", ".join(entry.id for entry in (*stand_in, *live)) or "none"
        because = "".join(f" ({each})" for each in left_out)
        raise ListError(
            f"profile {profile} has the platforms {names}{because}; expected two or more, "
            "at least one of them live: name them with --only, or require them in the list"
        )
    return Plan(profile, live, tuple(stand_in), left_out)


def github(made: Plan) -> str:
    """Lines for $GITHUB_OUTPUT. `runs-on` is JSON in a string, for an expression chooses between two."""
    rows = [
        {
            "id": entry.id,
            "runs-on": json.dumps(list(entry.runs_on)),
            "minutes": entry.minutes,
            "torch-index": "" if entry.image else entry.torch_index,
        }
        for entry in made.live
    ]
    lines = {
        "matrix": json.dumps({"include": rows}),
        "expect": made.expect,
        "records": " ".join(entry.record for entry in made.recorded),
        "left-out": "; ".join(made.left_out),
    }
    return "\n".join(f"{name}={value}" for name, value in lines.items())


def gitlab(made: Plan, listed: Platforms) -> dict:
    """A child pipeline: one job a platform, then one that compares. Its runners are tags."""
    jobs = {entry.id: _gitlab_platform(entry, made.profile, listed) for entry in made.live}
    records = "".join(f" --record {shlex.quote(entry.record)}" for entry in made.recorded)
    jobs["fan-in"] = {
        "stage": "compare",
        "image": listed.hosted_image,
        "timeout": "15 minutes",
        "needs": [{"job": entry.id, "artifacts": True} for entry in made.live],
        "when": "always",
        "script": [
            "bash ci/reports-only",
            "mkdir -p out",
            f".venv-reports/bin/tritonmoe fan-in out --expect {made.expect}{records} -o parity",
        ],
        "artifacts": {"when": "always", "name": "parity", "paths": ["parity/"], "expire_in": "90 days"},
    }
    jobs["sign"] = _gitlab_sign(made, listed, records)
    # A child of a merge request's pipeline would otherwise have no jobs.
    return {"workflow": {"rules": [{"when": "always"}]}, "stages": ["certify", "compare", "sign"], **jobs}


def _gitlab_platform(entry: Platform, profile: str, listed: Platforms) -> dict:
    job = {
        "stage": "certify",
        "timeout": f"{entry.minutes} minutes",
        "script": [f"bash ci/platform {entry.id} --profile {profile} -o out"],
        "artifacts": {
            "when": "always",
            "name": f"report-{entry.id}",
            "paths": [f"out/{entry.id}*"],
            "reports": {"junit": f"out/{entry.id}.xml"},
            "expire_in": "90 days",
        },
    }
    if entry.hosted:
        return job | {"image": listed.hosted_image, "variables": {"TRITONMOE_TORCH_INDEX": entry.torch_index}}
    return job | {"tags": list(entry.runs_on)}


def _gitlab_sign(made: Plan, listed: Platforms, records: str) -> dict:
    """After all others succeeded, and alone with the key, whose scope is this environment."""
    others = [{"job": entry.id, "artifacts": False} for entry in made.live]
    return {
        "stage": "sign",
        "image": listed.hosted_image,
        "timeout": "15 minutes",
        "rules": [{"if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"}],
        "environment": {"name": "parity-signing", "action": "access"},
        "needs": [{"job": "fan-in", "artifacts": True}, *others],
        "script": [
            "bash ci/reports-only",
            # A file variable of GitLab: empty where there is none, and then nothing is signed.
            f".venv-reports/bin/tritonmoe fan-in parity/reports --expect {made.expect}{records} "
            '${TRITONMOE_SIGNING_KEY:+--key "$TRITONMOE_SIGNING_KEY" --url "$CI_PIPELINE_URL"} '
            "-o certificate",
        ],
        "artifacts": {
            "when": "always",
            "name": "certificate",
            "paths": ["certificate/"],
            "expire_in": "90 days",
        },
    }


def shell(entry: Platform) -> str:
    """The entry as assignments of bash, every word quoted."""
    lines = [
        f"platform_{name}={shlex.quote(getattr(entry, name))}"
        for name in ("id", "evidence", "containerfile", "image", "torch_index", "record")
    ]
    lines += [
        f"platform_{name}=({shlex.join(getattr(entry, name))})"
        for name in ("probe", "docker_options", "pytest_options")
    ]
    return "\n".join(lines)


def _ids(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 ci/matrix.py",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", choices=("check", "ids", "shell", "github", "gitlab"))
    parser.add_argument("--list", type=Path, default=platforms.DEFAULT, metavar="FILE", help="another list")
    parser.add_argument("--profile", choices=PROFILES, default="certify", help="default: certify")
    parser.add_argument("--only", default="", metavar="IDS", help="these, with commas, not what is required")
    parser.add_argument("--recorded", default="", metavar="IDS", help="take their records, do not run them")
    parser.add_argument("--untrusted", action="store_true", help="hosted runners alone: a stranger's change")
    return parser


if __name__ == "__main__":
    sys.exit(main())
