"""Node discovery: the announcements of nodes on the bus, and the choice of a worker for a topic."""
