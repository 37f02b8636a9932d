"""How a build server behaves on a machine that somebody lends: when it builds, when it freezes, when it gives way."""
