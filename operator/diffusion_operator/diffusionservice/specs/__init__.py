"""Pure builders of a DiffusionService's children, one module per child kind."""
