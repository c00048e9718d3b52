"""What calls that were refused may still get, once money that lies idle elsewhere had time to come."""

from collections.abc import Mapping, Set

from gateway.core.budget import BudgetKey, GrantAnswer, Need, Short


class Hopes:
    """Says which refused calls are worth another try: no more of them than it could serve."""

    def __init__(
        self, answer: GrantAnswer, not_ours: Mapping[BudgetKey, int], coming: Set[BudgetKey]
    ) -> None:
        """Take what a grant answered, what others may have of each budget, and what is on its way."""
        grants = answer.decision.grants
        self._free = {key: each.room - grants.get(key, 0) for key, each in answer.balances.items()}
        self._not_ours = dict(not_ours)
        self._coming = coming

    def lacking(self, short: Short, need: Need) -> frozenset[BudgetKey]:
        """Return every budget that lacks something for a need, not only the one that lacks most."""
        scarce = (key for key, amount in need.amounts.items() if self._free[key] < amount)
        return frozenset((short.key, *scarce))

    def may_come(self, short: Short, need: Need) -> bool:
        """Return whether all that a call lacks is on its way, or may be idle with other replicas."""
        elsewhere = self.lacking(short, need) - self._coming
        if any(self._not_ours[key] < need.amounts[key] for key in elsewhere):
            return False
        for key in elsewhere:
            self._not_ours[key] -= need.amounts[key]
        return True
