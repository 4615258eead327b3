"""The latest selections, so that one click more costs one correction instead of all of them."""

from collections import OrderedDict
from threading import Lock
from weakref import ref

from sam_model.classical.region_graph import RegionGraph
from sam_model.classical.region_selection import Network, Selection, corrected, keeps_to_box, select_regions
from sam_model.types import Box, Point

KEPT = 16  # selections, of about 100 KB each

Key = tuple[int, tuple[Point, ...], Box | None]


class SelectionMemory:
    """Makes selections with a network, and keeps the latest ones; the results are the same. Threads may share one."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._lock = Lock()
        self._kept: OrderedDict[Key, tuple[ref[RegionGraph], Selection]] = OrderedDict()

    def __reduce__(self) -> tuple[type["SelectionMemory"], tuple[Network]]:
        """Pickle the network alone."""
        return SelectionMemory, (self._network,)

    def select(self, graph: RegionGraph, points: tuple[Point, ...], box: Box | None) -> Selection:
        """Return the selection for points and a box in working pixels; see `select_regions`."""
        before = self._before_last(graph, points, box)
        if before is None:
            selection = select_regions(graph, points, box, self._network)
        else:
            selection = corrected(graph, before, points[-1], self._network)
        with self._lock:
            self._kept[id(graph), points, box] = ref(graph), selection
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return selection

    def _before_last(self, graph: RegionGraph, points: tuple[Point, ...], box: Box | None) -> Selection | None:
        """Return the kept selection without the last point, if the last point would be applied last."""
        if not points:
            return None
        others = points[:-1]
        if box is None and not any(point.is_positive for point in others):
            return None  # the first positive point is applied first
        if box is not None and keeps_to_box(points, box) != keeps_to_box(others, box):
            return None
        with self._lock:
            kept = self._kept.get((id(graph), others, box))
        return kept[1] if kept and kept[0]() is graph else None
