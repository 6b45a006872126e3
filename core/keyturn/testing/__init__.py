"""Test kits for stores and plugins: importable, and used by Keyturn's own tests first."""
