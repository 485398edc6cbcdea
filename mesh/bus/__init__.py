"""The bus: how the nodes of a mesh reach each other. Its contract is contract.py."""
