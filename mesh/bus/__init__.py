"""The bus: how the nodes of a mesh exchange messages. Its contract is contract.py."""
