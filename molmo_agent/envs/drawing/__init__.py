"""What simulated screens are drawn with: canvas, fonts, icons, words."""
