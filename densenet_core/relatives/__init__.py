"""The other networks that make short paths between early and late layers, one file each (paper, section 2)."""
