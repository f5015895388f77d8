"""What has to hold of everything that happened in this session: judged last."""

from tests.e2e.world import Performance, World


def test_no_status_said_ready_before_it_was_true(world: World, performance: Performance) -> None:
    performance.finish()

    assert world.watcher.violations == []
    assert world.watcher.judged > 10
