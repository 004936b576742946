"""What model calls cost, who pays, and who may still spend."""
