"""One module per command or family of commands, imported only when used: the table is `keyturn.cli.app.COMMANDS`."""
