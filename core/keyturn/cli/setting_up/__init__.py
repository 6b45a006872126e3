"""SET: what a newcomer needs first: init, plugins, schema, simulators, the demo."""
