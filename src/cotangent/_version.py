"""The version, in one place: the package, its metadata and the compiled-code cache read it here."""

__version__ = "0.1.0"
