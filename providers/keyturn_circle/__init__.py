"""Entity secrets of Circle's developer-controlled wallets, and their recovery files."""
