"""Suites that go on looking for input that a peer could harm us with: targets, a corpus that is kept, two engines."""
