"""A traced step that runs op by op: where no machine code can be made, and as its definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..config import EPOCH
from ..errors import Error
from ..tensors import Variable
from .finite import is_finite
from .graph import Graph, Node
from .program import Array, Failed


class Interpreted:
    """A program that evaluates its graph; it is called as `Program` is.

    Args:
        watch: whether a run fails where a result or a new value of a variable is not finite.
    """

    def __init__(
        self, graph: Graph, variables: Sequence[Variable],
        host_functions: Sequence[Any], watch: bool = False,
    ) -> None:  # fmt: skip
        self.graph = graph
        self._watch = watch
        self.variables = tuple(variables)
        self.written = tuple(number for number, _ in graph.writes)
        self._host_functions = tuple(host_functions)
        self.arguments = [(node.shape, node.dtype) for node in graph.arguments]
        self.outputs = [(node.shape, node.dtype) for node in graph.outputs]

    def call(self, inputs: Sequence[Any]) -> list[Array]:
        """Run once; variables change only if all of it succeeds."""
        arrays = [
            np.asarray(x, dtype) for x, (_, dtype) in zip(inputs, self.arguments, strict=True)
        ]
        hosts = [
            np.asarray(host.value(), node.dtype)
            for host, node in zip(self._host_functions, self.graph.hosts, strict=True)
        ]
        variables = [v.peek() for v in self.variables]
        at: list[Node] = [*self.graph.nodes[:1]]
        try:
            outputs, new = self.graph.run(
                arrays, variables, hosts, lambda node, _: at.__setitem__(0, node)
            )
        except Error as error:
            error.message += f"\n  in {at[0].where()}"
            raise
        if self._watch and not all(map(is_finite, (*outputs, *new))):
            raise Failed(0)
        for number, value in zip(self.written, new, strict=True):
            self.variables[number].claim(value)
        return outputs

    def loop(self, stacked: Sequence[Any], times: int) -> list[Array]:
        """Run on each leading slice; all of it or nothing."""
        before = [self.variables[n].peek() for n in self.written]
        rows = []
        try:
            for i in range(times):
                rows.append(self.call([array[i] for array in stacked]))
        except (Error, Failed) as error:
            now = [self.variables[n].peek() for n in self.written]
            for number, array in zip(self.written, before, strict=True):
                variable = self.variables[number]
                variable.put(variable.wrap(array))
            EPOCH.bump()
            if isinstance(error, Failed):
                raise Failed(len(rows), now) from None
            error.message += f" (iteration {len(rows)} of loop)"
            raise
        columns = list(zip(*rows, strict=True)) or [()] * len(self.outputs)
        return [
            np.array(column, dtype).reshape((times, *shape))
            for column, (shape, dtype) in zip(columns, self.outputs, strict=True)
        ]
