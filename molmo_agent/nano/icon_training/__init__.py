"""Makes the icon classifier: rasterise free icon sets, draw them as buttons, train, measure."""
