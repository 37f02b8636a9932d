"""Who is mailed about what: what people have ended, and what they want to be told of."""
