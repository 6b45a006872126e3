"""The Layer7 API Developer Portal, with OTK on its proxies."""
