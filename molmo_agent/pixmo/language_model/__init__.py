"""Language models that write data: any OpenAI-compatible endpoint, with a cache, a budget and a model for each role."""
