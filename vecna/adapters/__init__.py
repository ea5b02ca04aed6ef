"""What stands behind the ports: one package for each store, and the clocks."""
