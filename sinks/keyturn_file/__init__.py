"""The file sink: consumers read a secret from a file of this machine."""
