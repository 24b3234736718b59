//! Energies whose normaliser, moments and exact draws are known: for tests, benches and first steps.
