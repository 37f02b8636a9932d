"""What the machine is and has: detected properties, programs, toolchains, and a build server's own directories."""
