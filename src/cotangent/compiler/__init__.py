"""From a Python function to machine code: trace, simplify, fuse, plan memory, emit, run."""
