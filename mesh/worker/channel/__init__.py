"""One channel of a worker: its lifecycle, mailbox and context, and the server that runs its callbacks."""
