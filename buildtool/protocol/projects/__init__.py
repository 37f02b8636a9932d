"""What is said of projects and their options, as whoever asks for builds or shows a form for that reads it."""
