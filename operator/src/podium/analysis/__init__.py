"""Pure: what counts of answers say about a candidate. Standard library alone; the time is an argument.

A ledger holds what was frozen when a rollout began (`plan`), the evidence so far (`state`) and the intervals counted
since. `ledger.replay` folds these into the state; `decision.decide` makes the decision from it. Everything is
anytime-valid: it may be looked at after each interval, and stopped at any.

    counts of an interval -> kernels (ratio, odds, tolerance, mean, split) -> evidence of a metric -> state -> decision
"""
