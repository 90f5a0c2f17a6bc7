"""The functions of arrays in PyTorch with torch.compile, which needs a C++ compiler."""

from __future__ import annotations

import torch
from functions import Function

from . import torch as eager


class Prepared(eager.Prepared):
    """A compiled function and its tensors."""

    def __init__(self, function: Function) -> None:
        super().__init__(function, torch.compile)
