"""What people and scripts see: terminal, JSON, Markdown, SARIF, JUnit. Reads core types; decides nothing."""
