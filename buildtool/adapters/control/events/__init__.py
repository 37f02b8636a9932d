"""Events over the control port: the metaserver tells pages what was committed, and pages follow that."""
