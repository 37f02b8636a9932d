"""Who is there and what they may do: identities by key, invitations, and the table of rights."""
