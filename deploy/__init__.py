"""What the compose stack needs beside the service."""
