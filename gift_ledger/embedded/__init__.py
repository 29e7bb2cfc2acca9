"""The servers that `gift-ledger up` starts itself where no setting names one: real ones, from wheels, on loopback."""
