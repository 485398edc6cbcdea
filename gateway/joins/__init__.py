"""Takes a join to the worker that runs the channel, and handles the loss of that worker."""
