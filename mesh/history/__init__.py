"""The history of topics: recorded by one worker, kept by a second one or in Redis."""
