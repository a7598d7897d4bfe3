"""What stands in a file that Git LFS has not fetched."""

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
