"""What `sluice demo` needs besides the product: a real vLLM that runs without a GPU, and models small enough for it."""
