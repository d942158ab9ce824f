"""Fragment files from other formats, for `athanor warmup` and the other commands of the program."""
