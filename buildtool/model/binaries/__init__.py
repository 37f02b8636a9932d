"""What files of programs are for and what they need, by their bytes alone: ELF, PE, Mach-O and WebAssembly. Pure.

A build's output is hostile, so that each reader here takes whatever bytes there are: every offset and count is looked
at before it is followed, and what is followed is bounded.
"""
