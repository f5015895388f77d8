"""One module per strategy, one line each in this table."""

from podium.rollout.strategies.base import Frozen, Sizes, Strategy, Target
from podium.rollout.strategies.bluegreen import BlueGreen
from podium.rollout.strategies.rolling import RollingUpdate

STRATEGIES: dict[str, Strategy] = {"RollingUpdate": RollingUpdate(), "BlueGreen": BlueGreen()}

__all__ = ["STRATEGIES", "Frozen", "Sizes", "Strategy", "Target"]
