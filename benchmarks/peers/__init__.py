"""Side by side with the servers people would pick instead; see `__main__`."""
