"""What the owner of a machine says of builds on it: the rights of what they make, and what they have there."""
