"""A layered drawing of a directed graph without cycles: boxes in ranks, from the top down.

The steps are those of K. Sugiyama, S. Tagawa and M. Toda, "Methods for visual understanding of
hierarchical system structures", IEEE Transactions on Systems, Man and Cybernetics, 1981: ranks by
the longest path, bends where an edge passes a rank, an order within each rank by barycentres that
leaves few crossings, and places near the neighbours. The places of a rank are the least-squares
solution that keeps order and distance, by pooling adjacent violators.

All that starts at one box shares its bends, so a value that is used often has one lane.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Key = Hashable
Point = tuple[float, float]

GAP_X, GAP_Y = 18.0, 30.0
_SWEEPS = 8  # of ordering
_ALIGNMENTS = 12  # rounds of placing


@dataclass(frozen=True)
class Net:
    """The edges that start at one box.

    Attributes:
        source: where they start.
        sinks: where they end, each once.
        name: tells nets apart.
    """

    source: Key
    sinks: tuple[Key, ...]
    name: Key = None


@dataclass
class Arrangement:
    """Where everything stands, in pixels from the upper left corner.

    Attributes:
        width, height: of the whole.
        corners: the upper left corner of each box.
        routes: for each net and sink the points of the edge, from the source to the sink.
        crossings: how many pairs of edges cross between two ranks.
    """

    width: float = 0.0
    height: float = 0.0
    corners: dict[Key, Point] = field(default_factory=dict)
    routes: list[tuple[Net, Key, list[Point]]] = field(default_factory=list)
    crossings: int = 0


Offset = Callable[[Key, Net], float]


def arrange(
    sizes: Mapping[Key, tuple[float, float]],
    nets: Sequence[Net],
    first: Sequence[Key] = (),
    last: Sequence[Key] = (),
    offset: Offset = lambda key, net: 0.0,
) -> Arrangement:
    """Place boxes so that every edge goes down.

    Args:
        sizes: width and height of each box; their order is the first order within a rank.
        nets: the edges; they have no cycle.
        first, last: boxes that stand alone in the first and the last rank.
        offset: where an edge meets a box, from its middle to the right.

    >>> drawn = arrange({"a": (40, 20), "b": (40, 20)}, [Net("a", ("b",))])
    >>> drawn.corners["b"][1] > drawn.corners["a"][1], drawn.crossings
    (True, 0)
    """
    return _Layers(sizes, nets, first, last, offset).arrangement()


class _Layers:
    """The work of `arrange`, step by step."""

    def __init__(
        self, sizes: Mapping[Key, tuple[float, float]], nets: Sequence[Net],
        first: Sequence[Key], last: Sequence[Key], offset: Offset,
    ) -> None:  # fmt: skip
        self.sizes: dict[Key, tuple[float, float]] = dict(sizes)
        self.nets = nets
        self.offset = offset
        self.rank = _ranks(self.sizes, nets, first, last)
        self.lanes: dict[tuple[Net, int], Key] = {}
        # Edges between neighbouring ranks: (upper, offset there, lower, offset there).
        self.links: list[tuple[Key, float, Key, float]] = []
        self._bend()
        self.above: dict[Key, list[tuple[Key, float, float]]] = defaultdict(list)
        self.below: dict[Key, list[tuple[Key, float, float]]] = defaultdict(list)
        for upper, at, lower, to in self.links:
            self.below[upper].append((lower, to, at))
            self.above[lower].append((upper, at, to))

    def arrangement(self) -> Arrangement:
        """The result of all steps."""
        if not self.sizes:
            return Arrangement()
        rows, crossings = self._order()
        x = self._places(rows)
        return self._finish(rows, x, crossings)

    def _bend(self) -> None:
        """Put a bend into each rank that a net passes."""
        for net in self.nets:
            start = self.rank[net.source]
            end = max((self.rank[sink] for sink in net.sinks), default=start)
            upper, at = net.source, self.offset(net.source, net)
            for rank in range(start + 1, end + 1):
                for sink in net.sinks:
                    if self.rank[sink] == rank:
                        self.links.append((upper, at, sink, self.offset(sink, net)))
                if rank < end:
                    bend = ("bend", net.source, net.name, rank)
                    self.sizes[bend], self.rank[bend] = (0.0, 0.0), rank
                    self.lanes[net, rank] = bend
                    self.links.append((upper, at, bend, 0.0))
                    upper, at = bend, 0.0

    def _order(self) -> tuple[list[list[Key]], int]:
        """The order within each rank with the fewest crossings that was met."""
        rows: list[list[Key]] = [[] for _ in range(max(self.rank.values()) + 1)]
        for key in self.sizes:
            rows[self.rank[key]].append(key)
        best, fewest = [list(row) for row in rows], self._crossings(rows)
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            down = sweep % 2 == 0
            neighbours = self.above if down else self.below
            at = {key: float(i) for row in rows for i, key in enumerate(row)}
            for row in rows[1:] if down else rows[-2::-1]:
                row.sort(key=lambda key: _barycentre(neighbours[key], at, at[key]))
                at.update({key: float(i) for i, key in enumerate(row)})
            found = self._crossings(rows)
            if found < fewest:
                best, fewest = [list(row) for row in rows], found
        return best, fewest

    def _crossings(self, rows: list[list[Key]]) -> int:
        """How many pairs of links cross."""
        at = {key: i for row in rows for i, key in enumerate(row)}
        ranks: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for upper, a, lower, b in self.links:
            # Offsets are less than a place: they order what leaves one box.
            ranks[self.rank[upper]].append((at[upper] + a * 1e-6, at[lower] + b * 1e-6))
        return sum(_inversions([b for _, b in sorted(pairs)]) for pairs in ranks.values())

    def _places(self, rows: list[list[Key]]) -> dict[Key, float]:
        """The middle of each box: near its neighbours, in order, and apart."""
        x: dict[Key, float] = {}
        for row in rows:
            left = 0.0
            for key in row:
                x[key] = left + self.sizes[key][0] / 2
                left += self.sizes[key][0] + GAP_X
        for round_ in range(_ALIGNMENTS):
            down = round_ % 2 == 0
            for row in rows if down else reversed(rows):
                self._align(row, x, both=round_ >= _ALIGNMENTS - 2, down=down)
        return x

    def _align(self, row: list[Key], x: dict[Key, float], both: bool, down: bool) -> None:
        wanted, weights = [], []
        for key in row:
            near = (self.above if down else self.below)[key]
            if both or not near:
                near = [*self.above[key], *self.below[key]]
            places = [x[other] + there - here for other, there, here in near]
            wanted.append(sum(places) / len(places) if places else x[key])
            weights.append(4.0 if not self.sizes[key][0] else 1.0 + 0.1 * len(near))
        half = [self.sizes[key][0] / 2 for key in row]
        apart = [a + b + GAP_X for a, b in pairwise(half)]
        for key, place in zip(row, spaced(wanted, weights, apart), strict=True):
            x[key] = place

    def _finish(self, rows: list[list[Key]], x: dict[Key, float], crossings: int) -> Arrangement:
        left = min(x[key] - self.sizes[key][0] / 2 for key in x)
        right = max(x[key] + self.sizes[key][0] / 2 for key in x)
        tops, top = [], 0.0
        for row in rows:
            tops.append(top)
            top += max(self.sizes[key][1] for key in row) + GAP_Y
        drawn = Arrangement(right - left, top - GAP_Y, crossings=crossings)
        tall = [max(self.sizes[key][1] for key in row) for row in rows]
        middle = {key: place - left for key, place in x.items()}
        y = {}
        for rank, row in enumerate(rows):
            for key in row:
                y[key] = tops[rank]
                if not (isinstance(key, tuple) and key[:1] == ("bend",)):
                    drawn.corners[key] = (middle[key] - self.sizes[key][0] / 2, y[key])
        for net in self.nets:
            for sink in net.sinks:
                drawn.routes.append((net, sink, self._route(net, sink, middle, y, tops, tall)))
        return drawn

    def _route(
        self, net: Net, sink: Key, x: dict[Key, float], y: dict[Key, float],
        tops: list[float], tall: list[float],
    ) -> list[Point]:  # fmt: skip
        """From below the source, past its rank and those between, to the top of the sink."""
        source, own = net.source, self.rank[net.source]
        start = x[source] + self.offset(source, net)
        points = [(start, y[source] + self.sizes[source][1])]
        if points[0][1] < tops[own] + tall[own]:
            points.append((start, tops[own] + tall[own]))
        for rank in range(own + 1, self.rank[sink]):
            bend = x[self.lanes[net, rank]]
            points += [(bend, tops[rank]), (bend, tops[rank] + tall[rank])]
        points.append((x[sink] + self.offset(sink, net), y[sink]))
        return points


def _ranks(
    sizes: Mapping[Key, tuple[float, float]], nets: Sequence[Net], first: Sequence[Key],
    last: Sequence[Key],
) -> dict[Key, int]:  # fmt: skip
    """The longest path to each box; boxes that nothing leads to stand just above the first that
    they lead to."""
    after: dict[Key, list[Key]] = {key: [] for key in sizes}
    waiting = dict.fromkeys(sizes, 0)
    for net in nets:
        for sink in net.sinks:
            after[net.source].append(sink)
            waiting[sink] += 1
    starts = [key for key in sizes if not waiting[key]]
    base = 1 if first else 0
    rank = {key: 0 if key in set(first) else base for key in sizes}
    ready = list(starts)
    while ready:
        key = ready.pop()
        for sink in after[key]:
            rank[sink] = max(rank[sink], rank[key] + 1)
            waiting[sink] -= 1
            if not waiting[sink]:
                ready.append(sink)
    for key in starts:
        if after[key] and key not in set(first):
            rank[key] = min(rank[sink] for sink in after[key]) - 1
    bottom = max((rank[key] for key in sizes if key not in set(last)), default=-1) + 1
    rank.update(dict.fromkeys(last, bottom))
    used = {r: i for i, r in enumerate(sorted(set(rank.values())))}
    return {key: used[r] for key, r in rank.items()}


def _barycentre(
    near: Sequence[tuple[Key, float, float]], at: Mapping[Key, float], otherwise: float
) -> float:
    if not near:
        return otherwise
    return sum(at[key] + there * 1e-3 for key, there, _ in near) / len(near)


def _inversions(values: Sequence[float]) -> int:
    """How many pairs are in the wrong order."""
    return sum(a > b for i, a in enumerate(values) for b in values[i + 1 :])


def spaced(
    wanted: Sequence[float], weights: Sequence[float], apart: Sequence[float]
) -> list[float]:
    """Places nearest to `wanted` by weighted squares, each `apart` from the one before or more.

    >>> spaced([0.0, 0.0, 9.0], [1.0, 1.0, 1.0], [2.0, 2.0])
    [-1.0, 1.0, 9.0]
    """
    shifts = [0.0]
    for distance in apart:
        shifts.append(shifts[-1] + distance)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, how many
    for place, weight, shift in zip(wanted, weights, shifts, strict=True):
        mean, total, count = place - shift, weight, 1
        while blocks and blocks[-1][0] > mean:
            before, mass, many = blocks.pop()
            mean = (mean * total + before * mass) / (total + mass)
            total, count = total + mass, count + many
        blocks.append((mean, total, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    return [mean + shift for mean, shift in zip(means, shifts, strict=True)]
