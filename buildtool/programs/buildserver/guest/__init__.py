"""What the owner of a machine says to its build server: settings, a file of them, and commands while it runs."""
