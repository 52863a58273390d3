"""Rows that belong together, directly or by way of others."""


class Clusters:
    """Rows 0 to n - 1, each alone at first, that are joined two at a time.

    Example:
        >>> some = Clusters(4)
        >>> some.join(3, 1), some.join(1, 3)
        (True, False)
        >>> some.all()
        [[0], [1, 3], [2]]
    """

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def first(self, row: int) -> int:
        """The first row of the cluster of a row."""
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(self, one: int, other: int) -> bool:
        """Make the clusters of two rows one; False if they are one already."""
        low, high = sorted((self.first(one), self.first(other)))
        self._parent[high] = low
        return low != high

    def all(self) -> list[list[int]]:
        """All clusters, each in ascending order, by their first rows."""
        found: dict[int, list[int]] = {}
        for row in range(len(self._parent)):
            found.setdefault(self.first(row), []).append(row)
        return list(found.values())
