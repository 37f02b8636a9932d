"""The whole farm in one process, on a virtual clock, driven by one seed."""
