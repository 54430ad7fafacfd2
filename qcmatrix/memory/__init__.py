"""The memory ledger of one launch per GPU."""
