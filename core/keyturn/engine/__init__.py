"""The engine: pure decisions (`plan`, `preflight`, `decide`), one fence around plugins, one loop with the effects."""
