"""Where models and prompts are registered: files on this machine and MLflow."""
