"""How long anything works before the event loop has its turn.

Whatever handles a queue looks at the clock and leaves the rest for the next turn: everybody else in the
process waits that long (docs/performance.md, "Stalls").
"""

TICK_BUDGET_SECONDS = 0.002
