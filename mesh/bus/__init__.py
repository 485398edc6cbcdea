"""The bus: the XPUB/XSUB broadcast plane, as publishers and subscribers see it."""
