"""The engine: pure decisions over what the journal says, one fence around plugins, one loop with the effects.

Read it in this order. `record` is what the journal says: events, the fold that makes the state of a secret from them,
the receipt. `decisions` is what to do next: one pure function, `decide`, that walks the steps. `effects` is the only
code that reaches out: plugins through the `fence`, consumers, leases. `loop` ties them together: decide, record, call,
record. `plan` and `preflight` come before it, `entry` begins a rotation, `operator` and `adoption` are what a person
says and takes over, `rounds` is one run over many secrets.
"""
