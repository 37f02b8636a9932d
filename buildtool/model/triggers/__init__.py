"""What asks for builds by itself: when it looks, at which refs, and what it asks for."""
