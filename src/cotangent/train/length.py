"""How long a run lasts where that is not known."""

NEVER = 1 << 62  # epochs or steps: more than any run makes
