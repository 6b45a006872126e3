"""Client secrets of WSO2 API Manager in multi-secret mode: several under one consumer key."""
