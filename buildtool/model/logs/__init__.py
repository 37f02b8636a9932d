"""What is known of a log besides its bytes: where its lines, errors and phases are. Pure."""
