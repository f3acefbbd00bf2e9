"""Make data like PixMo without a vision-language model: documents, clocks, counts, captions, questions, points."""
