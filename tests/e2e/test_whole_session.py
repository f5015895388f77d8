"""What has to hold of everything that happened in this session: judged last."""

from tests.e2e.world import Performance, World


def test_no_rule_was_broken_by_any_ModelDeployment(world: World, performance: Performance) -> None:
    performance.finish()

    assert world.watcher.violations() == []
    assert world.watcher.judged > 10
