"""The wire: bytes to values, values to bytes, errors to status codes; REST and gRPC alike."""
