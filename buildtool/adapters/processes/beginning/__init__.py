"""How a command begins: where its program is, and what terminal it has.

Standard library alone: it runs in keepers.
"""
