// Charts with values on hover and by keyboard.
