"""What is known of how artifacts are made, and the least of that which somebody demands."""
