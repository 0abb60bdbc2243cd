"""The library behind `invoke` and `nox`: data in, plans out, one module that runs them."""
