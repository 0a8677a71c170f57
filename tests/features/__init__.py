"""PyTorch's features times this package's layers and networks."""
