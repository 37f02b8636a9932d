"""Who is mailed about what: what somebody has no more mails about, who watches a branch, and who broke a build."""
