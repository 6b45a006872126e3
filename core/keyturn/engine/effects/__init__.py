"""The only code of the engine that reaches out: plugins through the fence, consumers, leases."""
