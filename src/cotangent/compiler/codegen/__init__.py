"""Machine code: the instruction emitter, the mathematical functions, and the loops around them."""
