"""One gateway ⇄ one worker: DEALER to ROUTER, batches of small commands."""
