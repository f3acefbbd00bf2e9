"""A local web page on which people annotate images, and the export of their work as PixMo data sets."""
