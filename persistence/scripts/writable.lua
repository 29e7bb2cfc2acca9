#!lua
-- Writes nothing. But a server that could not take a write, being read-only, full or cut off from its disk or its
-- replicas, refuses to run it.
return 1
