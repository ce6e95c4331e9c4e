"""One server a file, each run by its own environment's Python; all do `job.Job`."""
