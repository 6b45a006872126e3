"""Client secrets and keys of API portals: Layer7, Azure API Management, WSO2 API Manager."""
