"""Bytes and requests made up by machines, against whatever meets bytes from outside.

Two halves. The *decoders* are searched by Hypothesis: valid inputs are broken in the ways that break parsers, and only
the error that is documented may come out, at a cost that fits the length of the input. The *service* is called by
Schemathesis after its own OpenAPI document, over real sockets, with the key of each role and with none.

Both are short and the same each time in `make test`; `make fuzz` searches further.
"""
