"""What a finished run leaves: its checkpoint, metrics and figures."""
