"""What an operator can have done: use cases that commands call, and that a controller or a page can call as well."""
