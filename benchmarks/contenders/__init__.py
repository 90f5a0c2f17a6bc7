"""One module a library, with classes that `worker.py` measures.

`Trainer(workload)` has `batches`, `step`, `loop` and `wait`; `Prepared(function)` has `call`,
`wait` and `arrays`, which gives the results as NumPy arrays.
"""
