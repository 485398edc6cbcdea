"""The process of a node: event loop, signals, garbage collection, descriptors, start and stop."""
