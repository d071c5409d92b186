"""Roots written by released formats, and what they must answer for ever."""
