"""What the shells need from outside, as Protocols; adapters implement them, and the fakes of the tests too."""
