"""What a build server does from its start to its end, beside its builds."""
