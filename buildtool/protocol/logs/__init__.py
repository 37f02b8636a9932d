"""What is said about logs beside their bytes: marks of build servers, and answers to those who read."""
