"""The deliveries of forges: strict and bounded reading of what they send."""
