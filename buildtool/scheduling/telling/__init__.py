"""What decisions mean for those who are told of them elsewhere than by mail."""
