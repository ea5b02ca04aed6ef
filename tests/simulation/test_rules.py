"""Each rule of the design is needed, and the simulation sees it: switched off, a law is broken."""

import re
from pathlib import Path

import pytest

from tests.simulation.ablations import ABLATIONS
from tests.simulation.running import first_violation, play, quiet, shrunk

PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ABLATIONS)
def test_without_the_rule_a_law_is_broken(name):
    rule = ABLATIONS[name]
    with quiet(), rule.off():
        failed = first_violation(range(rule.first, rule.first + rule.seeds), rule.world)
    assert failed is not None, f"{rule.seeds} histories of {rule.world} without: {rule.rule}"
    with quiet():
        assert not play([failed.seed], rule.world).failed, "with the rule it must be kept"


def test_the_page_names_each_rule_and_its_world():
    rows = re.findall(r"^\| .* \| `(\w+)` \| (\w+) \|$", PAGE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted((rule.name, rule.world) for rule in ABLATIONS.values())


def test_a_failing_history_shrinks():
    rule = ABLATIONS["cancel_without_mark"]
    with quiet(), rule.off():
        failed = first_violation(range(rule.seeds), rule.world)
        assert failed is not None
        skipped, calmed = shrunk(failed.seed, rule.world)
    assert len(skipped) > 20
    assert calmed
