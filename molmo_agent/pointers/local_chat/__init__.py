"""Vision-language models of transformers' own classes as pointing models: conversation in, reply out."""
