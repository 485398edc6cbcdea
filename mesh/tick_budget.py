"""How long one callback may run before the event loop runs the others.

Code that processes a queue checks the time and leaves the rest for the next tick, because everything else
in the process has to wait for it (docs/performance.md, "Stalls").
"""

TICK_BUDGET_SECONDS = 0.002
