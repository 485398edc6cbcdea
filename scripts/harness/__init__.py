"""What the scripts have in common: nodes to run, clients by hand, what to throw, pictures."""
