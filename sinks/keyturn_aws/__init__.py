"""The AWS sink: consumers read a secret from AWS Secrets Manager."""
