"""Documents that cross a process boundary, as the operator writes or reads them."""
