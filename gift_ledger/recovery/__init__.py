"""What is done when a ledger was lost: backups, and putting one back."""
