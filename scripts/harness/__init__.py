"""What the scripts share: nodes to run, low-level clients, malformed messages, plots."""
