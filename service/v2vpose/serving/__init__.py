"""The serving engine: admission, batches, workers, aggregator, behind one object."""
