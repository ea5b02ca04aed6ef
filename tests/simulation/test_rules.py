"""Each rule of the design is needed, and the simulation sees it: switched off, a law is broken."""

import pytest

from tests.simulation.ablations import ABLATIONS, UNSEEN
from tests.simulation.running import first_violation, play, quiet, shrunk

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", [name for name in ABLATIONS if name not in UNSEEN])
def test_without_the_rule_a_law_is_broken(name):
    rule = ABLATIONS[name]
    with quiet(), rule.off():
        failed = first_violation(range(rule.first, rule.first + rule.seeds), rule.world)
    assert failed is not None, f"{rule.seeds} histories of {rule.world} without: {rule.rule}"
    with quiet():
        assert not play([failed.seed], rule.world).failed, "with the rule it must be kept"


@pytest.mark.parametrize("name", UNSEEN)
def test_rules_that_others_make_up_for(name):
    """None of the laws needs them alone; docs/simulation.md says what does their work."""
    rule = ABLATIONS[name]
    with quiet(), rule.off():
        assert not play(range(100), rule.world).failed


def test_a_failing_history_shrinks():
    rule = ABLATIONS["cancel_without_mark"]
    with quiet(), rule.off():
        failed = first_violation(range(rule.seeds), rule.world)
        assert failed is not None
        skipped, calmed = shrunk(failed.seed, rule.world)
    assert len(skipped) > 20
    assert calmed
