"""Labels of a metric that come out of the stream."""

MOST = 1000
OTHERS = "(others)"


class Labels:
    """Never many: where a recipe takes any camera, whoever sends may make up names without end, and each would be a
    series in Prometheus for good."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        """The name, or `OTHERS` where there are too many already."""
        if len(self._known) < self._most:
            self._known.add(name)
        return name if name in self._known else OTHERS
