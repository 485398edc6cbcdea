"""How long one callback may work before the event loop runs the others.

Code that works off a queue looks at the clock and leaves the rest for the next tick: everything else in the
process waits that long (docs/performance.md, "Stalls").
"""

TICK_BUDGET_SECONDS = 0.002
