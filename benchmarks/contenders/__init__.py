"""One module a library; each has `Trainer(workload)` with `batches`, `step` and `loop`."""
