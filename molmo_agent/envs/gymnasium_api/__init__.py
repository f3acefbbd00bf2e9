"""Gymnasium in both directions: our envs as gymnasium envs, gymnasium envs as ours."""
