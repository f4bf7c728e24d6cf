"""What tests stand on: doubles, builders and starters of real servers."""
