"""One channel of a worker: its life, its mailbox, what it may do, the server that runs its callbacks."""
