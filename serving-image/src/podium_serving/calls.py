"""One inference request from its arrival to its answer: how it is counted, and the memory that is held for it."""

from podium_serving.budget import Budget
from podium_serving.metrics import Metrics


class Call:
    """Begins with a request and ends once, answered or abandoned; then no memory is counted for it any more.

    While a worker or the process for large JSON works on one whose client has gone, its memory is counted still.
    `body` is how many bytes of the budget the front holds for the request itself, until it lets go of them.
    """

    __slots__ = ("_budget", "_ended", "_held", "_kept", "_large", "_metrics", "body")

    def __init__(self, metrics: Metrics, budget: Budget, body: int) -> None:
        """Counts it as started."""
        self.body = body
        self._metrics = metrics
        self._budget = budget
        self._large = self._kept = self._ended = False
        self._held = 0
        metrics.started()

    @property
    def own(self) -> int:
        """Bytes of the budget that are this request's, by whomever they are held. For any thread."""
        return self.body + self._held

    def reserve(self, most: int) -> bool:
        """Whether its body may be read, whose tensors take `most` bytes at the most; if so, they are held.

        Tensors take the place of the body. The only large body is read even if they do not fit beside what small
        requests hold, of which there are always some: they must not keep it waiting for ever.
        """
        budget = self._budget
        more = max(min(most, budget.size) - self.body, 0)
        fits = not more or budget.used + more <= budget.size
        if budget.used_up(self.own) or (budget.large and not fits):
            return False
        budget.large += 1
        self._large = True
        self.hold(more)
        return True

    def hold(self, size: int) -> None:
        """So many bytes in all: of the request's tensors, and of the result once that is there."""
        if self._ended:
            return
        difference, self._held = size - self._held, size
        if difference:
            self._budget.change(difference)

    def keep(self) -> None:
        """Who asked has gone, and somebody works on it: what it holds is counted until `let_go`.

        The front lets go of the body soon, and who reads it does not.
        """
        self.hold(self._held + self.body)
        self.body = 0
        self._kept = True

    def let_go(self) -> None:
        """Nobody works on it any more."""
        if self._kept:
            self._kept = False
            self._release()

    def answered(self, code: int, seconds: float) -> None:
        """Its answer, with this status of HTTP's, was ready `seconds` after the request's last byte."""
        self._end()
        self._metrics.answered(code, seconds)

    def abandoned(self) -> None:
        """Whoever asked has gone away before the answer."""
        self._end()
        self._metrics.abandoned()

    def _end(self) -> None:
        self._ended = True
        if not self._kept:
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, 0
        if self._large:
            self._large = False
            self._budget.large -= 1
            self._budget.change(-held)
        elif held:
            self._budget.change(-held)
