"""What headers say of an observation: when, where, with what, through which air."""
