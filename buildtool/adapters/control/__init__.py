"""The control port: Perspective Broker connections that are bounded, and the calls over them, both ways."""
