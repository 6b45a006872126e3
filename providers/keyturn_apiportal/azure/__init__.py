"""Subscription keys of Azure API Management: two slots under one subscription."""
