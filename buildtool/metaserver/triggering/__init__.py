"""What asks for builds by itself: looks at repositories, and asks as a requester does."""
