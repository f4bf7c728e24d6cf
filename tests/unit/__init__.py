"""Fast tests without processes or sockets, but for those of the doubles themselves."""
