"""The doctors of the programs: each looks at all that its program needs, and tells what is wrong with the mend."""
