"""What the service is made of that is not ours: lists with hashes, a bill, licences, and what is known against it."""
