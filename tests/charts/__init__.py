"""The pinned Helm charts as tests see them: rendered where they can be had, and by recorded facts where they cannot."""
