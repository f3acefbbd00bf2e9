"""Points as tools of the Model Context Protocol: words in, a checked action and its outcome out."""
