"""The exceptions that Cotangent raises.

Each is an :class:`Error` and also the built-in exception that people expect, so ``except
ValueError`` keeps working. A message says, in this order: the operation, the rule that was
broken, the full shapes as passed, and the likely fix. An error that crosses a layer gains the
layer's path (:meth:`Error.enter_layer`).
"""

from __future__ import annotations


class Error(Exception):
    """The base of every error of this library.

    Attributes:
        message: what went wrong, without the layer.
        layer: path of the layer in which it happened, such as ``layers.0``, or ``""``.
        layer_text: the same layer as it prints, such as ``Linear(2 -> 8)``.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.layer = ""
        self.layer_text = ""

    def enter_layer(self, name: str, text: str) -> None:
        """Note that the error crossed a layer; called from the innermost one outwards."""
        if not self.layer_text:
            self.layer_text = text
        if name:
            self.layer = f"{name}.{self.layer}" if self.layer else name

    def __str__(self) -> str:
        if not self.layer_text:
            return self.message
        where = f"{self.layer}: {self.layer_text}" if self.layer else self.layer_text
        return f"{self.message}\n  in layer {where}"


class ShapeError(Error, ValueError):
    """Shapes that an operation cannot combine."""


class DTypeError(Error, TypeError):
    """A dtype that an operation does not take."""


class ArgumentError(Error, ValueError):
    """An argument or hyperparameter outside its range."""


class ArgumentTypeError(Error, TypeError):
    """An argument of the wrong kind."""


class MutationError(Error, TypeError):
    """An attempt to change a tensor in place; tensors are values."""


class BoundsError(Error, IndexError):
    """An index outside the axis that it points into."""


class UnknownKeyError(Error, KeyError):
    """A name that a model, a state dict or a file does not have."""


class GradientError(Error, RuntimeError):
    """A derivative that cannot be taken."""


class BackendError(Error, RuntimeError):
    """Tensors of two backends in one operation, or a backend that is missing."""


class TraceError(Error, RuntimeError):
    """A function that cannot be traced, or a traced value used outside its trace."""


class CompileError(Error, RuntimeError):
    """A graph that cannot be turned into machine code."""


class VerificationError(Error, RuntimeError):
    """Machine code that differs from the evaluation op by op; see ``ct.jit(verify=True)``."""


class NonFiniteError(Error, ArithmeticError):
    """A NaN or infinity where `ct.debug_nans` is on."""


class FileError(Error, OSError):
    """A file that is missing, damaged, or not what it should be."""


class MissingPackageError(Error, ImportError):
    """An optional package that is not installed; the message says what to install."""
