"""The network. It knows nothing of identities, targets, memories or files."""
