"""What a check found, told to people and tools: a page, JUnit XML, GitHub. Results in, text out."""
