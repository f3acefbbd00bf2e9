"""Phones over adb as an env."""
