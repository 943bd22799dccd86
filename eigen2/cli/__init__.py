"""The commands of `eigen2`, a file each."""
