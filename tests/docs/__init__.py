"""The pages of docs/: what is generated for them, what their text promises, and the scaffolds behind their guides."""
