"""One client's channels: their phases, and every protocol decision about them."""
