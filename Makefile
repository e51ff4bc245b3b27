# placeholder: see `make help`
