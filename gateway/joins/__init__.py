"""From a join to the worker that runs the channel, and what happens when that worker is gone."""
