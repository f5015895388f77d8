"""One module per strategy, one line each in this table."""

from podium.rollout.record import RolloutRecord
from podium.rollout.strategies.base import Facts, Frozen, Move, Progress, Strategy, Target
from podium.rollout.strategies.bluegreen import BlueGreen
from podium.rollout.strategies.canary import Canary
from podium.rollout.strategies.rolling import RollingUpdate

STRATEGIES: dict[str, Strategy] = {
    "RollingUpdate": RollingUpdate(),
    "BlueGreen": BlueGreen(),
    "Canary": Canary(),
}


class _Unknown:
    """The facts of a finished rollout whose strategy is not known."""

    preview = False
    shares_traffic = False
    undoable = False
    promotable = False
    grows = False
    stepwise = False

    def fixed_size(self, record: RolloutRecord) -> bool:
        return False


def facts_of(name: str) -> Facts:
    """What is true of rollouts by the strategy of this name, known or not."""
    return STRATEGIES.get(name) or _Unknown()


__all__ = ["STRATEGIES", "Facts", "Frozen", "Move", "Progress", "Strategy", "Target", "facts_of"]
