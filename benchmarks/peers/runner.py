"""Goes through rounds, peers, settings and scenarios, and keeps what was measured after each step."""

import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis

from benchmarks import ceiling
from benchmarks.peers import environment, own, scenarios
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.figures import CEILING
from benchmarks.peers.processes import StepFailed, Unsupported
from benchmarks.peers.scenarios import Measured, Scenario
from benchmarks.peers.session import Session
from benchmarks.peers.sizes import Sizes

#: Of whom there is a target that is a ratio: what is compared is measured again and again, one right after the other.
_COMPARED = ("vecna", "bullmq", "huey", "celery", "dramatiq")

SCENARIOS = {
    "core": Scenario(scenarios.core, both=True, repeated=_COMPARED),
    "coroutines": Scenario(scenarios.coroutines, repeated=("vecna",)),
    "two": Scenario(scenarios.two, both=True, repeated=("vecna",)),
    "async": Scenario(own.concurrent, ours=True, repeated=("vecna",)),
    "latency": Scenario(scenarios.latency, both=True, repeated=("vecna", "huey")),
    "late": Scenario(scenarios.late, repeated=("vecna", "bullmq")),
    "chord": Scenario(scenarios.chord, repeated=("vecna", "bullmq")),
    "plain": Scenario(own.plain, ours=True, repeated=("vecna",)),
    "waits": Scenario(scenarios.waits, repeated=("vecna",)),
    "idle": Scenario(scenarios.idle),
    "cancel": Scenario(own.cancel, ours=True),
    "import": Scenario(own.imports, ours=True),
    "grown": Scenario(own.grown, ours=True),
}

#: Scenarios whose figures are set against each other: of each peer one right after the other.
_TOGETHER = (("core", "coroutines", "two", "async"), ("latency",), ("late",), ("chord", "plain"))


@dataclass
class Plan:
    """What is to be done."""

    peers: Sequence[Peer]
    settings: Sequence[str]
    scenarios: Sequence[str]
    rounds: int
    sizes: Sizes
    thorough: bool  # both settings where a scenario is for both; in the first round only
    file: Path
    figures: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)


def carry_out(plan: Plan, url: str) -> None:
    """Measure, print progress to standard error, write `plan.file` after each step."""
    with redis.Redis.from_url(url) as client:
        plan.about = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **_machine(client)}
        plan.about["guarantees"] = {peer.name: peer.settings for peer in plan.peers}
        plan.about["rounds"] = plan.rounds
        plan.about["packages"] = {peer.name: list(peer.requirements) for peer in plan.peers}
        commands = dict(_commands(plan))
        for number in range(1, plan.rounds + 1):
            _keep(plan, CEILING, "", number, _ceiling(client, plan.sizes))
            steps = list(_steps(plan, commands, number))
            for done, (peer, setting, scenario) in enumerate(steps, start=1):
                _say(f"round {number} of {plan.rounds}, step {done} of {len(steps)}: {peer.name} {setting} {scenario}")
                session = Session(peer, setting, commands[peer.name], url, client)
                _step(plan, session, scenario, number)
        client.flushall()


def _commands(plan: Plan) -> Iterator[tuple[str, list[str]]]:
    plan.about["skipped"] = {}
    for peer in plan.peers:
        try:
            yield peer.name, environment.command(peer)
        except environment.NotInstalled as reason:
            _say(f"{peer.name} is skipped, it cannot be installed: {reason}")
            plan.about["skipped"][peer.name] = str(reason)


def _steps(plan: Plan, commands: dict[str, list[str]], number: int) -> Iterator[tuple[Peer, str, str]]:
    alone = [(name,) for name in plan.scenarios if not any(name in together for together in _TOGETHER)]
    for together in (*_TOGETHER, *alone):
        for peer in plan.peers:
            if peer.name in commands:
                for name in together:
                    if name in plan.scenarios:
                        yield from _settings(plan, peer, name, number)


def _settings(plan: Plan, peer: Peer, name: str, number: int) -> Iterator[tuple[Peer, str, str]]:
    scenario = SCENARIOS[name]
    if number == 1 or peer.name in scenario.repeated:
        wanted = [setting for setting in peer.settings if setting in plan.settings]
        for setting in scenario.settings(wanted, is_ours=peer.is_ours, thorough=plan.thorough and number == 1):
            yield peer, setting, name


def _step(plan: Plan, session: Session, scenario: str, number: int) -> None:
    name, start = session.peer.name, time.perf_counter()
    try:
        sizes = plan.sizes if number == 1 else plan.sizes.again()
        _keep(plan, name, session.setting, number, SCENARIOS[scenario].measure(session, sizes))
    except Unsupported as reason:
        _keep(plan, name, session.setting, number, [Measured(scenario, None, "", str(reason))])
    except StepFailed as reason:
        _say(f"  FAILED: {reason}")
        _keep(
            plan,
            name,
            session.setting,
            number,
            [Measured(scenario, None, "", f"failed: {str(reason).splitlines()[-1]}")],
        )
    _say(f"  took {time.perf_counter() - start:.1f} s")


def _keep(plan: Plan, peer: str, setting: str, number: int, measured: Iterable[Measured]) -> None:
    try:
        for one in measured:
            plan.figures.append({"peer": peer, "setting": setting, "round": number, **asdict(one)})
            shown = one.note if one.value is None else f"{one.value:,.2f} {one.unit} {one.note}".rstrip()
            _say(f"  {one.metric}: {shown}")
    finally:  # also what was measured before Ctrl-C
        beside = plan.file.with_suffix(".part")
        beside.write_text(json.dumps({**plan.about, "figures": plan.figures}, indent=1) + "\n")
        beside.replace(plan.file)


def _ceiling(client: redis.Redis, sizes: Sizes) -> Iterator[Measured]:
    body = b'{"UUID":"%s","Name":"noop","Args":[{"Type":"int64","Value":1},{"Type":"int64","Value":1}]}' % (b"0" * 32)
    bodies, record = [body] * min(sizes.send, 10_000), b'{"TaskUUID":"%s","State":"SUCCESS"}' % (b"0" * 32)
    yield Measured("send", ceiling.send_one_by_one(client, bodies), "/s")
    yield Measured("bulk", ceiling.send_in_bulk(client, [body] * sizes.bulk, 1000), "/s")
    yield Measured("drain", ceiling.drain(client, [body] * sizes.drain, record), "/s")
    trips = sorted(ceiling.round_trips(client, sizes.round_trips))
    yield Measured("latency-p50", 1000 * trips[len(trips) // 2], "ms")


def _machine(client: redis.Redis) -> dict[str, Any]:
    info: dict[str, Any] = client.info("server")
    return {
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "redis": info["redis_version"],
        "command": " ".join(["python -m benchmarks.peers", *sys.argv[1:]]),
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
