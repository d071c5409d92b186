"""The quiver command."""
