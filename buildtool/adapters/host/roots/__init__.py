"""Root file systems of other releases and architectures: made, tried in a sandbox, kept, and removed.

Everything here blocks.
"""
