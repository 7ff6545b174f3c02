"""What steps share and nothing else: interface, artifact formats, pixels, scoring. Importing it loads nothing heavy."""
