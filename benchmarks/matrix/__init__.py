"""What every verb tells of a run after each disaster: `make matrix`."""
