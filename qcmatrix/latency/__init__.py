"""Lower bounds on time: what the hardware's peak cannot beat."""
