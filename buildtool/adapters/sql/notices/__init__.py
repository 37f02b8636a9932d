"""The outbox of what is told elsewhere than by mail."""
